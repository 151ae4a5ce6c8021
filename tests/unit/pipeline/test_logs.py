"""One line, one JSON object, as Cloud Logging reads it."""

import json

import pytest

from saxflow.pipeline.logs import log


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    log("WARNING", 'two\nlines and "quotes"', deployment="llama", status=503)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line) == {
        "severity": "WARNING",
        "message": 'two\nlines and "quotes"',
        "deployment": "llama",
        "status": 503,
    }


def test_results_have_stdout_to_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    log("INFO", "said beside a command's result")
    assert capsys.readouterr().out == ""
