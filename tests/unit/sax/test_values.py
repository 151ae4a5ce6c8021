"""Values and the messages behind them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.errors import InputError, ProtocolError
from saxflow.sax import messages as m
from saxflow.sax.values import (
    LARGEST,
    Generated,
    Model,
    ModelStatus,
    PublishedModel,
    ServerStat,
    Transcript,
    extra_inputs,
)


def test_a_model_and_its_message() -> None:
    model = Model("/sax/test/m", "a.B", "gs://b/checkpoint_00000000", 1, {"BATCH_SIZE": "4"})
    assert Model.from_message(model.message()) == model
    published = m.PublishedModel(model=model.message(), modelet_addresses=["h:1"])
    assert PublishedModel.from_message(published) == PublishedModel(model, ("h:1",))


@pytest.mark.parametrize(
    "model",
    [
        Model("m", "a.B", "gs://b/c"),
        Model("/sax/t/m", "a b", "gs://b/c"),
        Model("/sax/t/m", "a.B", ""),
        Model("/sax/t/m", "a.B", "gs://b/c", 1, {"A": "x"}),
    ],
)
def test_illegal_names_never_leave(model: Model) -> None:
    with pytest.raises(InputError):
        model.message()


def test_enums_become_names_and_unknown_ones_numbers() -> None:
    stat = m.ModelServerTypeStat(chip_type=15, chip_topology=23, num_replicas=2)
    assert ServerStat.from_message(stat) == ServerStat("TPU_V5E", "4", 2)
    stat = m.ModelServerTypeStat(chip_type=99, chip_topology=99)
    assert ServerStat.from_message(stat) == ServerStat("99", "99", 0)
    status = m.GetStatusResponse.ModelWithStatus(
        model_key="/sax/t/m", model_status=m.FAILED, failure_reason="no such file"
    )
    assert ModelStatus.from_message(status) == ModelStatus("/sax/t/m", "FAILED", "no such file")


def test_extra_inputs_are_present_even_when_empty() -> None:
    request = m.GenerateRequest(model_key="k", text="t", extra_inputs=extra_inputs(None))
    assert request.HasField("extra_inputs")
    assert request.SerializeToString().hex().endswith("1a00")


def test_extra_inputs_of_every_kind() -> None:
    message = extra_inputs({"temperature": 0.25, "note": "x", "weights": [1.0, 2.0]})
    assert dict(message.items) == {"temperature": 0.25}
    assert dict(message.strings) == {"note": "x"}
    assert list(message.tensors["weights"].values) == [1.0, 2.0]


def item(text: str, prefix_len: int, *scores: float) -> m.GenerateStreamItem:
    return m.GenerateStreamItem(text=text, prefix_len=prefix_len, scores=scores)


@given(st.lists(st.text(max_size=5), max_size=8))
def test_a_transcript_counts_characters(pieces: list[str]) -> None:
    transcript = Transcript()
    samples: tuple[Generated, ...] = ()
    text = ""
    for piece in pieces:
        samples = transcript.extend(m.GenerateStreamResponse(items=[item(piece, len(text), 1.0)]))
        text += piece
    assert samples == ((Generated(text, 1.0),) if pieces else ())


def test_a_transcript_replaces_and_keeps_samples_apart() -> None:
    transcript = Transcript()
    transcript.extend(m.GenerateStreamResponse(items=[item("été\ufffd", 0, 0.5), item("b", 0)]))
    samples = transcript.extend(
        m.GenerateStreamResponse(items=[item("é 😀", 2, -2.0), item("!", 1, -3.0)])
    )
    assert samples == (Generated("ététo"[:2] + "é 😀", -2.0), Generated("b!", -3.0))


def test_the_deprecated_score_counts_when_there_is_no_other() -> None:
    reply = m.GenerateStreamResponse(items=[m.GenerateStreamItem(text="a", score=-1.5)])
    assert Transcript().extend(reply) == (Generated("a", -1.5),)


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 0, 1e-50, True])
def test_numbers_that_32_bits_carry(value: float) -> None:
    message = extra_inputs({"a": value, "b": [value]})
    assert math.isfinite(message.items["a"])
    assert list(message.tensors["b"].values) == [message.items["a"]]


@pytest.mark.parametrize("value", [math.nextafter(LARGEST, math.inf), 10**400, -math.inf, math.nan])
def test_numbers_that_they_do_not(value: float) -> None:
    for values in ({"a": value}, {"a": [0.0, value]}):
        with pytest.raises(InputError) as caught:
            extra_inputs(values)
        assert str(caught.value) == (f"extra input a is {value}; SAX carries finite 32-bit numbers")


@pytest.mark.parametrize("replicas", [-1, 2**31])
def test_replicas_that_no_message_carries(replicas: int) -> None:
    with pytest.raises(InputError, match=f"replicas is {replicas}"):
        Model("/sax/test/m", "a.B", "/x", replicas).message()


@pytest.mark.parametrize("prefix_len", [1, -1])
def test_a_prefix_that_is_not_there_breaks_the_protocol(prefix_len: int) -> None:
    with pytest.raises(ProtocolError):
        Transcript().extend(m.GenerateStreamResponse(items=[item("a", prefix_len)]))
