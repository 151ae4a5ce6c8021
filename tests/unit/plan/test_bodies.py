"""Bodies that are no messages of the API are found before they are stored."""

import re

import pytest

from saxflow.errors import ConfigurationError
from saxflow.plan import bodies


@pytest.mark.parametrize("body", [{"taskGroup": []}, {"taskGroups": {}}, {"priority": "high"}])
def test_jobs_that_are_none(body: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"no batch\.v1\.Job"):
        bodies.check_job(body)


@pytest.mark.parametrize(
    "body", [{"tpus": {}}, {"spot": {}, "guaranteed": {}}, {"tpu": {"nodeSpec": {}}}]
)
def test_queued_resources_that_are_none(body: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"no tpu\.v2\.QueuedResource"):
        bodies.check_queued_resource(body)


def test_bodies_that_are_some() -> None:
    bodies.check_job({"taskGroups": []})
    bodies.check_queued_resource({"spot": {}})


def test_labels_are_legal() -> None:
    found = bodies.labels("a" * 30, "3w5e11264sgsf", 12, "0" * 32)
    assert found["managed-by"] == "saxflow"
    for key, value in found.items():
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key)
        assert re.fullmatch(r"[a-z0-9_-]{0,63}", value)
