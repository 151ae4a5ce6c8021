"""`saxflow generate` through the head in the control bucket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.pipeline.services import services


@pytest.fixture
def saxflow(
    installation: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> Callable[..., tuple[int, str, str]]:
    """Run `saxflow generate`; return exit code, stdout, stderr."""
    monkeypatch.setenv("SAXFLOW_PROJECT", "local")
    for bucket in ("MANIFESTS", "CONTROL", "MODELS", "CELLS"):
        monkeypatch.setenv(f"SAXFLOW_{bucket}_BUCKET", bucket.lower())
    services.cache_clear()

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(app, ["generate", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield command
    services.cache_clear()


def test_the_text_as_it_comes(saxflow: Any, storyteller: Any, tell: Any) -> None:
    code, out, _ = saxflow("story", "Once é", "--max-tokens", "5", "--temperature", "0")
    assert (code, out) == (0, "".join(tell("Once é", 5)) + "\n")
    assert dict(storyteller.asked[0].extra_inputs.items) == {
        "temperature": 0.0,
        "per_example_max_decode_steps": 5.0,
    }


@pytest.mark.parametrize("flags", [[], ["--no-stream"]])
def test_json(saxflow: Any, storyteller: Any, tell: Any, flags: list[str]) -> None:
    code, out, _ = saxflow("story", "Once", "--max-tokens", "4", "--json", *flags)
    *pieces, result = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert (result["deployment"], result["prompt"]) == ("story", "Once")
    assert result["text"] == "".join(tell("Once", 4))
    assert result["usage"]["total_tokens"] > 4
    assert [piece["piece"] for piece in pieces] == ([] if flags else tell("Once", 4))


def test_an_unknown_deployment(saxflow: Any) -> None:
    code, out, err = saxflow("nobody", "x", "--json")
    assert code == 4
    assert "there is no deployment 'nobody'" in err
    assert json.loads(out)["exit_code"] == 4


def test_a_deployment_that_does_not_serve_yet(saxflow: Any, installation: Any) -> None:
    installation.deploy("later", None)
    code, _, err = saxflow("later", "x")
    assert code == 6
    assert "deployment later does not serve yet (conversion.started)" in err


def test_too_long(saxflow: Any, storyteller: Any) -> None:
    assert saxflow("story", "word " * 200)[0] == 3
    assert saxflow("story", "x", "--extra", "y")[0] == 2
