"""What the client refuses before anybody is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from saxflow.errors import InputError
from saxflow.sax import messages as m
from saxflow.sax.aio import AsyncCell
from saxflow.sax.values import Model

from .servers import LLAMA, collected, run


def test_opening_looks_at_nothing(tmp_path: Path) -> None:
    cell = AsyncCell.open(str(tmp_path / "missing"), "/sax/test")
    assert str(cell.name) == "/sax/test"
    assert str(cell.model(LLAMA).name) == LLAMA
    assert cell.modelet("h:1").address == "h:1"


@pytest.mark.parametrize(
    ("root", "cell", "said"),
    [
        ("", "/sax/test", "sax-root '' is neither gs://bucket/prefix nor a directory"),
        ("s3://b/p", "/sax/test", "sax-root 's3://b/p' is neither"),
        ("gs://", "/sax/test", "'gs://' is not a Cloud Storage URI; write gs://bucket/name"),
        ("/root", "test", "'test' is no SAX cell; write /sax/<cell>"),
        ("/root", "/sax/test/llama", "'/sax/test/llama' is no SAX cell"),
        ("/root", "/sax/Ünï", "'/sax/Ünï' is no SAX cell"),
        ("/root", "", "'' is no SAX cell"),
    ],
)
def test_malformed_places_are_refused(root: str, cell: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        AsyncCell.open(root, cell)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda c: c.list("llama"), "'llama' is no SAX model ID; write /sax/<cell>/<model>"),
        (lambda c: c.stats("/sax/test/"), "'/sax/test/' is no SAX model ID"),
        (lambda c: c.unpublish(""), "'' is no SAX model ID"),
        (lambda c: c.wait_for_ready("x", deadline_seconds=1), "'x' is no SAX model ID"),
        (
            lambda c: c.wait_for_ready(LLAMA, 2**31, deadline_seconds=1),
            "replicas is 2147483648; a number from 0 to 2147483647 is needed",
        ),
        (lambda c: c.join("host", m.ModelServer()), "'host' is no address; write host:port"),
        (
            lambda c: c.publish(Model(LLAMA, "a.Llama", "/x", 10**12)),
            "replicas is 1000000000000; a number from 0 to 2147483647 is needed",
        ),
        (lambda c: c.update(Model(LLAMA, "a.Llama", "/x", -1)), "replicas is -1; a number from 0"),
        (lambda c: c.publish(Model(LLAMA, "a B", "/x")), "'a B' is no SAX model path"),
        (lambda c: c.publish(Model(LLAMA, "a.B", "/é")), "checkpoint path '/é' is not legal"),
        (
            lambda c: c.publish(Model(LLAMA, "a.B", "/x", 1, {"K": "[" * 100_000})),
            "override K is '",
        ),
        (
            lambda c: c.publish(Model(LLAMA, "a.B", "/x", 1, {"K": '"\udcff"'})),
            "override K cannot be sent: character 2 is half of a surrogate pair",
        ),
        (
            lambda c: c.model(LLAMA).generate("ab\udcff"),
            "prompt cannot be sent: character 3 is half of a surrogate pair; give UTF-8 text",
        ),
        (lambda c: collected(c.model(LLAMA).generate_stream("\ud800")), "prompt cannot be sent"),
        (lambda c: c.model(LLAMA).score("\ud800", ["a"]), "prefix cannot be sent"),
        (lambda c: c.model(LLAMA).score("a", ["b", "\ud800"]), "suffix cannot be sent"),
        (
            lambda c: c.model(LLAMA).generate("x", {"temperature": float("nan")}),
            "extra input temperature is nan; SAX carries finite 32-bit numbers",
        ),
        (
            lambda c: c.model(LLAMA).generate("x", {"seed": 10**400}),
            "extra input seed is 1000",
        ),
        (
            lambda c: c.model(LLAMA).score("x", ["y"], {"seed": 1e39}),
            r"extra input seed is 1e\+39",
        ),
        (
            lambda c: c.model(LLAMA).generate("x", {"bias": [0.0, float("-inf")]}),
            "extra input bias is -inf",
        ),
        (
            lambda c: c.model(LLAMA).generate("x", {"\udcff": 1}),
            "the name of an extra input cannot be sent",
        ),
        (lambda c: c.model(LLAMA).generate("x", {"a": "\udcff"}), "extra input a cannot be sent"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anybody_is_asked(
    tmp_path: Path, use: Any, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        run(str(tmp_path / "missing"), use)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "model_id", ["", "llama", "/sax/test", "/sax/test/a/b", "/sax/te st/a", "/sax/test/é"]
)
def test_malformed_models(model_id: str) -> None:
    with pytest.raises(InputError, match="is no SAX model ID"):
        AsyncCell.open("/root", "/sax/test").model(model_id)


@pytest.mark.parametrize("address", ["", "host", ":1", "host:", "host:123456", "host:x"])
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(InputError, match="is no address; write host:port"):
        AsyncCell.open("/root", "/sax/test").modelet(address)
