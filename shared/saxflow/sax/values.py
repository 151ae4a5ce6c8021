"""What callers see instead of protobuf messages, and the way from one to the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from saxflow.errors import InputError, ProtocolError
from saxflow.sax import messages as m
from saxflow.sax import names

ExtraInputs = Mapping[str, float | str | Sequence[float]]
"""Name -> number, text or numbers, as saxutil's -extra, -extra_string and -extra_tensor."""

LARGEST = (2 - 2**-23) * 2.0**127
"""Largest finite number of 32 bits; a larger one would travel as infinity."""


@dataclass(frozen=True)
class Model:
    """A model as it is published.

    Args:
        model_id: `/sax/<cell>/<model>`.
        model_path: class in SAX's registry.
        checkpoint: step directory, or `None` (the word) for random weights.
        replicas: how many model servers should hold it.
        overrides: attribute of the class -> JSON text.
    """

    model_id: str
    model_path: str
    checkpoint: str
    replicas: int = 1
    overrides: Mapping[str, str] = field(default_factory=dict[str, str])

    def message(self) -> m.Model:
        """Return the message that publishes it.

        Raises:
            InputError: a name is not legal in SAX.
        """
        return m.Model(
            model_id=str(names.ModelName.parse(self.model_id)),
            model_path=names.check_model_path(self.model_path),
            checkpoint_path=names.check_checkpoint(self.checkpoint),
            requested_num_replicas=names.check_replicas(self.replicas),
            overrides=names.check_overrides(self.overrides),
        )

    @classmethod
    def from_message(cls, message: m.Model) -> Model:
        """Read a message."""
        return cls(
            message.model_id,
            message.model_path,
            message.checkpoint_path,
            message.requested_num_replicas,
            dict(message.overrides),
        )


@dataclass(frozen=True)
class PublishedModel:
    """A published model and the servers assigned to it; assigned does not mean loaded."""

    model: Model
    addresses: tuple[str, ...]

    @classmethod
    def from_message(cls, message: m.PublishedModel) -> PublishedModel:
        """Read a message."""
        return cls(Model.from_message(message.model), tuple(message.modelet_addresses))


@dataclass(frozen=True)
class ServerStat:
    """How many servers of one kind have joined a cell; names as in the enums of sax.ModelServer."""

    chip_type: str
    chip_topology: str
    replicas: int

    @classmethod
    def from_message(cls, message: m.ModelServerTypeStat) -> ServerStat:
        """Read a message; a value unknown to v1.1.0 becomes its number."""
        return cls(
            _enum_name("ModelServer.ChipType", message.chip_type, "CHIP_TYPE_"),
            _enum_name("ModelServer.ChipTopology", message.chip_topology, "CHIP_TOPOLOGY_"),
            message.num_replicas,
        )


@dataclass(frozen=True)
class ModelStatus:
    """What one model server says of one model.

    Args:
        status: `LOADING`, `LOADED`, `FAILED`, `UNLOADING`.
        failure_reason: the server's own words after `FAILED`, when asked for.
    """

    model_id: str
    status: str
    failure_reason: str = ""

    @classmethod
    def from_message(cls, message: m.GetStatusResponse.ModelWithStatus) -> ModelStatus:
        """Read a message."""
        return cls(
            message.model_key,
            _enum_name("ModelStatus", message.model_status, ""),
            message.failure_reason,
        )


@dataclass(frozen=True)
class Generated:
    """One sample: its text so far, and its score, the sum of token log-probabilities."""

    text: str
    score: float


class Transcript:
    """The texts of a stream, put together from its items.

    Source: google/saxml v1.1.0 `saxml/server/services/lm_service.py` (prefix_len counts
    characters), `saxml/client/go/sax_lm.go` (scores before the deprecated score).
    """

    def __init__(self) -> None:
        self._samples: list[Generated] = []

    def extend(self, reply: m.GenerateStreamResponse) -> tuple[Generated, ...]:
        """Apply one reply and return every sample so far.

        Raises:
            ProtocolError: an item keeps more characters than there are.
        """
        for index, item in enumerate(reply.items):
            before = self._samples[index].text if index < len(self._samples) else ""
            if not 0 <= item.prefix_len <= len(before):
                raise ProtocolError(
                    f"GenerateStream keeps {item.prefix_len} of {len(before)} characters"
                )
            score = item.scores[0] if item.scores else item.score
            sample = Generated(before[: item.prefix_len] + item.text, score)
            self._samples[index : index + 1] = [sample]
        return tuple(self._samples)


def extra_inputs(values: ExtraInputs | None) -> m.ExtraInputs:
    """Return the message, which SAX expects to be present even when empty.

    Raises:
        InputError: a number is not finite or too large, or a text is no Unicode.
    """
    message = m.ExtraInputs()
    for name, value in (values or {}).items():
        what = f"extra input {names.check_text(name, 'the name of an extra input')}"
        if isinstance(value, str):
            message.strings[name] = names.check_text(value, what)
        elif isinstance(value, Sequence):
            message.tensors[name].values.extend(_number(one, what) for one in value)
        else:
            message.items[name] = _number(value, what)
    return message


def _number(value: float, what: str) -> float:
    if not -LARGEST <= value <= LARGEST:
        raise InputError(f"{what} is {value}; SAX carries finite 32-bit numbers")
    return value


def _enum_name(enum: str, number: int, prefix: str) -> str:
    for name, value in m.SAX.enums[enum].items():
        if value == number:
            return name.removeprefix(prefix)
    return str(number)
