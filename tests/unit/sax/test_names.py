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


def test_addresses_have_a_port() -> None:
    assert names.check_address("10.0.0.1:10000") == "10.0.0.1:10000"
    assert names.check_address("[::1]:10000") == "[::1]:10000"
    for bad in ("", "10.0.0.1", "host:", "host:port", ":1"):
        with pytest.raises(InputError):
            names.check_address(bad)
