"""A line an event: when, what, and how far."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from saxflow import events
from saxflow.cli.live import Printer


def event(name: str, at: float = 0, **details: Any) -> events.Event:
    return events.build(
        name,
        project="p",
        deployment="llama",
        generation="1",
        attempt=1,
        message="the word",
        now=datetime.fromtimestamp(at, UTC),
        **details,
    )


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("manifest.accepted", "·"),
        ("model.serving", "●"),
        ("deployment.failed", "✗"),
        ("manifest.rejected", "✗"),
        ("deployment.deleted", "○"),
    ],
)
def test_an_event_is_a_line_with_its_mark(
    name: str, mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Printer().show(event(name))
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf" +0\.\d s {mark} {re.escape(name)} +the word\n", err)


def test_progress_is_told_in_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    progress = {"bytes_done": 1.2e9, "bytes_total": 13.5e9, "bytes_per_second": 8e8}
    Printer().show(event("conversion.progressed", progress=progress))
    assert "1.2 of 13.5 GB, 800.0 MB/s\n" in capsys.readouterr().err
    Printer().show(event("conversion.progressed", progress={**progress, "eta_seconds": 15.0}))
    assert "800.0 MB/s, ETA 15 s\n" in capsys.readouterr().err


def test_seconds_are_those_of_the_events(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer()
    printer.show(event("manifest.accepted", 100))
    printer.show(event("model.serving", 107.25))
    first, second = capsys.readouterr().err.splitlines()
    assert first.split()[0] == "0.0"
    assert second.split()[0] == "7.2"


def test_what_comes_while_one_waits_counts_from_when_waiting_began(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Printer(began=90).show(event("manifest.accepted", 92.5))
    assert capsys.readouterr().err.split()[0] == "2.5"
