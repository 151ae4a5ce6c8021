"""`servable.json`: a model server's params class as data (design.md section 3).

The plan writes it, the TPU VM carries it, and the real model server's params module and the local
cell read it; nothing else tells a server what it serves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from saxflow.errors import InputError
from saxflow.sax.names import check_model_path

REGISTRY = "saxml.server.pax.lm.params.saxflow"
COMPUTE_DTYPES = ("bfloat16", "float32", "float16")
IDS_TOKENIZER = "ids:"
BOS_ID = 1
EOS_ID = 2


@dataclass(frozen=True)
class Servable:
    """What a model server needs to know to serve one Llama.

    Args:
        layers: number of transformer blocks.
        heads, kv_heads, head_dim: attention; `kv_heads` divides `heads`.
        model_dim, hidden_dim, vocab: D, F, V.
        tokenizer: gs:// or file:/// URI of a sentencepiece model, or `ids:`, where text is
            token ids separated by commas, in and out.
        norm_eps, rope_theta: as in Meta's params.json.
        mesh: [replica, data, mdl] chips.
        batch: requests that are decoded together.
        input_len: longest prompt in tokens, BOS included.
        max_new_tokens: most tokens generated for a request.
        stream: GenerateStream is offered.
        compute_dtype: dtype of weights and activations while serving.
        class_name: the JSON's `class`, last part of the registry path.
        model_path: registry path it is advertised and published under.
    """

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    model_dim: int
    hidden_dim: int
    vocab: int
    tokenizer: str
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    mesh: tuple[int, int, int] = (1, 1, 1)
    batch: int = 1
    input_len: int = 1024
    max_new_tokens: int = 512
    stream: bool = True
    compute_dtype: str = "bfloat16"
    class_name: str = "Llama"
    model_path: str = f"{REGISTRY}.Llama"

    @classmethod
    def from_json(cls, text: str | bytes) -> Servable:
        """Read the JSON text.

        Raises:
            InputError: it is no JSON object, or a key is unknown, missing or has an illegal value;
                every problem is in the message.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise InputError(f"servable is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise InputError(f"servable is a {type(document).__name__}; it must be a JSON object")
        return cls.from_dict(document)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Servable:
        """Read the parsed document; raises as `from_json`."""
        values: dict[str, Any] = {
            ("class_name" if key == "class" else key): document[key] for key in document
        }
        problems = [*_presence(document, values), *_types(values)]
        if not problems:
            values["mesh"] = tuple(values.get("mesh", (1, 1, 1)))
            servable = cls(**values)
            problems = servable._contradictions()
            if not problems:
                return servable
        raise InputError("servable: " + "; ".join(problems))

    def as_dict(self) -> dict[str, Any]:
        """Return the document: the same keys `from_dict` reads."""
        document = asdict(self)
        document["mesh"] = list(self.mesh)
        return {"class": document.pop("class_name"), **document}

    def to_json(self) -> str:
        """Return the JSON text."""
        return json.dumps(self.as_dict(), indent=2)

    def _contradictions(self) -> list[str]:
        checks = {
            f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}": self.heads
            % self.kv_heads,
            f"head_dim {self.head_dim} is odd; rotary embeddings need pairs": self.head_dim % 2,
            f"model_path {self.model_path!r} does not end in class {self.class_name!r}": (
                self.model_path.rpartition(".")[2] != self.class_name
            ),
            f"input_len {self.input_len} leaves no room for a token after BOS": self.input_len < 2,
        }
        return [text for text, wrong in checks.items() if wrong]


def _presence(document: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    known = {field.name for field in fields(Servable)}
    required = [field.name for field in fields(Servable) if field.default is MISSING]
    unknown = sorted(key for key in document if key == "class_name" or key not in known | {"class"})
    missing = [name for name in required if name not in values]
    return [f"unknown key {key!r}" for key in unknown] + [f"{name} is missing" for name in missing]


def _types(values: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} is {values[name]!r}; it must be {wanted}"
        for names, legal, wanted in _RULES
        for name in names
        if name in values and not legal(values[name])
    ]


def _positive_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _positive_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")
    )


def _mesh(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple)) and len(value) == 3 and all(map(_positive_integer, value))
    )


def _tokenizer(value: Any) -> bool:
    return isinstance(value, str) and (
        value == IDS_TOKENIZER
        or (value.startswith("file:///") and len(value) > len("file:///"))
        or (value.startswith("gs://") and "/" in value.removeprefix("gs://").strip("/"))
    )


def _model_path(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(check_model_path(value))
    except InputError:
        return False


_RULES = (
    (
        (
            "layers",
            "heads",
            "kv_heads",
            "head_dim",
            "model_dim",
            "hidden_dim",
            "vocab",
            "batch",
            "input_len",
            "max_new_tokens",
        ),
        _positive_integer,
        "a positive integer",
    ),
    (("norm_eps", "rope_theta"), _positive_number, "a positive number"),
    (("mesh",), _mesh, "three positive integers [replica, data, mdl]"),
    (("stream",), lambda value: isinstance(value, bool), "true or false"),
    (("compute_dtype",), lambda value: value in COMPUTE_DTYPES, " or ".join(COMPUTE_DTYPES)),
    (("tokenizer",), _tokenizer, "gs://bucket/name, file:///path or `ids:`"),
    (
        ("class_name",),
        lambda value: isinstance(value, str) and value.isidentifier(),
        "a class name",
    ),
    (("model_path",), _model_path, "a dotted SAX registry path"),
)
"""Keys -> test of a value -> what would be right."""
