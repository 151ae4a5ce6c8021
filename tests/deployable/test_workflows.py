"""The two Workflows as files: valid, inside the service's limits, equal where they share."""

import re

import pytest
import yaml

from saxflow import bundled, events
from saxflow.local.workflows import lint

NAMES = ("deploy_model", "teardown_model")
MAX_SOURCE_BYTES = 128 * 1024
MAX_EXPRESSION = 400


def source(name: str) -> str:
    return bundled.text(f"workflows/{name}.yaml")


def parsed(name: str) -> dict[str, object]:
    return yaml.safe_load(source(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_language_check_finds_nothing(name: str) -> None:
    assert list(lint.check(source(name))) == []


@pytest.mark.parametrize("name", NAMES)
def test_limits_of_the_service(name: str) -> None:
    text = source(name)
    assert len(text.encode()) < MAX_SOURCE_BYTES
    expressions = re.findall(r"\$\{.*?\}(?=[\"'\s,\]}]|$)", text)
    assert expressions
    assert max(map(len, expressions)) <= MAX_EXPRESSION


def test_shared_subworkflows_are_equal() -> None:
    deploy, teardown = parsed("deploy_model"), parsed("teardown_model")
    shared = (set(deploy) & set(teardown)) - {"main"}
    assert len(shared) > 10
    for subworkflow in sorted(shared):
        assert deploy[subworkflow] == teardown[subworkflow], subworkflow


@pytest.mark.parametrize("name", NAMES)
def test_every_subworkflow_is_called(name: str) -> None:
    text = source(name)
    for subworkflow in set(parsed(name)) - {"main"}:
        called = re.search(rf"(call|predicate): (\$\{{)?{subworkflow}\b", text)
        assert called, f"{subworkflow} is never called"


@pytest.mark.parametrize("name", NAMES)
def test_every_call_out_has_a_timeout(name: str) -> None:
    def calls(node: object):
        if isinstance(node, dict):
            if str(node.get("call", "")).startswith("http."):
                yield node
            for child in node.values():
                yield from calls(child)
        elif isinstance(node, list):
            for child in node:
                yield from calls(child)

    found = list(calls(parsed(name)))
    assert found
    for call in found:
        assert call["args"]["timeout"] <= 120
        assert call["args"]["auth"]["type"] in ("OAuth2", "OIDC")


def test_every_type_said_is_in_the_table() -> None:
    said = {
        match for name in NAMES for match in re.findall(r"type: ([a-z]+\.[a-z]+)", source(name))
    }
    assert said <= set(events.TYPES)
    by_workflow = set(events.TYPES) - {
        "manifest.accepted",
        "manifest.rejected",
        "weights.fetching",
        "weights.fetched",
    }
    assert by_workflow <= said
