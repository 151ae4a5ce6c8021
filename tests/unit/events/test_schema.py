"""The schema of events refuses what is none."""

from typing import Any

import jsonschema
import pytest

from saxflow.events import PREFIX, json_schema

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "tiny/7/1/model.serving",
    "type": f"{PREFIX}model.serving",
    "source": "//saxflow/projects/p/deployments/tiny",
    "subject": "tiny",
    "time": "2026-01-01T00:00:00Z",
    "datacontenttype": "application/json",
    "data": {
        "deployment": "tiny",
        "generation": "7",
        "attempt": 1,
        "stage": "model",
        "message": "it answers",
    },
}
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def test_an_event() -> None:
    assert VALIDATOR.is_valid(EVENT)


@pytest.mark.parametrize(
    "change",
    [
        {"type": f"{PREFIX}model.exploded"},
        {"specversion": "0.3"},
        {"source": "elsewhere"},
        {"data": {}},
        {"data": {**EVENT["data"], "generation": 7}},
        {"data": {**EVENT["data"], "failure": {"stage": "tpu"}}},
    ],
)
def test_what_is_no_event(change: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(EVENT | change)
