"""SAX's grammar of names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.errors import InputError
from saxflow.sax import names

PART = st.from_regex(r"[a-z]+[a-z0-9_-]*", fullmatch=True)


@given(cell=PART, model=PART)
def test_model_names_round_trip(cell: str, model: str) -> None:
    text = f"/sax/{cell}/{model}"
    name = names.ModelName.parse(text)
    assert str(name) == text
    assert str(name.cell) == f"/sax/{cell}"
    assert names.CellName.parse(str(name.cell)) == name.cell


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/sax",
        "/sax/",
        "/sax/Test",
        "sax/test",
        "/sax/test/x",
        "/sax/1a",
        "/xas/test",
        "/sax/té",
        "/sax/test\n",
    ],
)
def test_bad_cells_are_named(text: str) -> None:
    with pytest.raises(InputError) as caught:
        names.CellName.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["/sax/test", "/sax/test/", "/sax/test/A", "/sax/test/m/x", "m", "/sax//m", "/sax/test/m "],
)
def test_bad_models_are_named(text: str) -> None:
    with pytest.raises(InputError) as caught:
        names.ModelName.parse(text)
    assert repr(text) in str(caught.value)


def test_model_paths() -> None:
    path = "saxml.server.pax.lm.params.saxflow.Llama"
    assert names.check_model_path(path) == path
    for bad in ("", "1x", "a b", "a/b"):
        with pytest.raises(InputError):
            names.check_model_path(bad)


def test_checkpoint_paths() -> None:
    for good in ("gs://b/x/checkpoint_00000000", "/tmp/a.b-c", "None", "a=b|c%d"):
        assert names.check_checkpoint(good) == good
    for bad in ("", "gs://b/with space", "gs://b/é", "a+b"):
        with pytest.raises(InputError):
            names.check_checkpoint(bad)


def test_overrides_are_json() -> None:
    assert names.check_overrides({"BATCH_SIZE": "4", "A": '"x"'}) == {"BATCH_SIZE": "4", "A": '"x"'}
    with pytest.raises(InputError, match="override A"):
        names.check_overrides({"A": "x"})
    for bad in ("", "[" * 100_000):
        with pytest.raises(InputError, match=r"override A is .*; SAX takes JSON"):
            names.check_overrides({"A": bad})


def test_replicas_fit_into_a_message() -> None:
    for good in (0, 1, 2**31 - 1):
        assert names.check_replicas(good) == good
    for bad in (-1, 2**31, 10**30):
        with pytest.raises(InputError, match=f"replicas is {bad}; a number from 0 to 2147483647"):
            names.check_replicas(bad)


def test_texts_are_unicode() -> None:
    for good in ("", "été 😀", "\0\n"):
        assert names.check_text(good, "prompt") == good
    with pytest.raises(InputError) as caught:
        names.check_text("😀x\ud83d", "prompt")
    assert str(caught.value) == (
        "prompt cannot be sent: character 3 is half of a surrogate pair; give UTF-8 text"
    )


def test_addresses_have_a_port() -> None:
    assert names.check_address("10.0.0.1:10000") == "10.0.0.1:10000"
    assert names.check_address("[::1]:10000") == "[::1]:10000"
    for bad in ("", "10.0.0.1", "host:", "host:port", ":1"):
        with pytest.raises(InputError):
            names.check_address(bad)
