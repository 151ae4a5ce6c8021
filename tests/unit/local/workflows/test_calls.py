from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.clock import VirtualClock
from saxflow.local.workflows import HttpClient, Run, Runtime, WorkflowFailure, parse_workflow

RunIt = Callable[..., Any]


def test_sleep_and_sleep_until_follow_the_clock(run: RunIt, clock: VirtualClock) -> None:
    source = """
    - a: {call: sys.sleep, args: {seconds: 30.5}}
    - b: {call: sys.sleep_until, args: {time: 2000}}
    - c: {call: sys.sleep_until, args: {time: 5}}
    - out: {return: "${sys.now()}"}
    """
    assert run(source) == 2000.0
    assert clock.time() == 2000.0


@pytest.mark.parametrize(
    ("step", "tag"),
    [
        ("{call: sys.sleep, args: {seconds: -1}}", "ValueError"),
        ("{call: sys.sleep, args: {seconds: '5'}}", "TypeError"),
        ("{call: sys.sleep, args: {seconds: '${1e999}'}}", "ValueError"),
        ("{call: sys.sleep_until, args: {time: '${1e999}'}}", "ValueError"),
        ("{call: sys.sleep_until, args: {time: '${1e999 - 1e999}'}}", "ValueError"),
        ("{call: sys.sleep}", "TypeError"),
        ("{call: sys.log, args: {data: 1, text: x}}", "TypeError"),
        ("{call: sys.log, args: {data: 1, severity: LOUD}}", "ValueError"),
        (
            "{call: events.create_callback_endpoint, args: {http_callback_method: FETCH}}",
            "ValueError",
        ),
        ("{call: events.create_callback_endpoint}", "SystemError"),
        ("{call: events.await_callback, args: {callback: {url: x}}}", "SystemError"),
        ("{call: nowhere.known}", "KeyError"),
    ],
)
def test_errors(run: RunIt, step: str, tag: str) -> None:
    with pytest.raises(WorkflowFailure) as caught:
        run(f"- a: {step}\n")
    assert caught.value.payload["tags"] == [tag]


def test_the_environment_is_what_was_given(run: RunIt) -> None:
    source = '- a: {return: ["${sys.get_env(\\"A\\")}", "${sys.get_env(\\"B\\", 5)}"]}\n'
    assert run(source, env={"A": "x"}) == ["x", 5]


def test_log_takes_data_with_a_severity() -> None:
    entries: list[tuple[str, Any]] = []
    source = """
    - a: {call: sys.log, args: {json: {k: 1}, severity: warning}}
    - b: {call: sys.log, args: {text: plain}}
    """
    http = HttpClient()
    runtime = Runtime(VirtualClock(), http, log=lambda *entry: entries.append(entry))
    Run(parse_workflow(source), runtime).execute(None)
    http.close()
    assert entries == [("WARNING", {"k": 1}), ("DEFAULT", "plain")]
