from __future__ import annotations

import pytest

from saxflow.errors import InputError
from saxflow.local.faults import Fault, Faults, parse_action


@pytest.mark.parametrize(
    ("action", "kind", "status", "after"),
    [
        ("return-503", "return", 503, None),
        ("return-429", "return", 429, None),
        ("return-503-after-256K", "return", 503, 256 * 1024),
        ("return-broken-stream", "broken-stream", 0, None),
        ("return-corrupted-data", "corrupted-data", 0, None),
        ("return-reset-connection", "reset-connection", 0, None),
        ("stall-always", "stall", 0, None),
        ("stall-at-256KiB", "stall", 0, 256 * 1024),
        ("execute-and-timeout", "lost", 0, None),
    ],
)
def test_actions_by_name(action: str, kind: str, status: int, after: int | None) -> None:
    fault = parse_action(action)
    assert (fault.kind, fault.status, fault.after_bytes) == (kind, status, after)


@pytest.mark.parametrize("action", ["return-999", "return-", "explode", "stall-at-1"])
def test_unknown_actions_are_refused_with_the_list(action: str) -> None:
    with pytest.raises(InputError, match="execute-and-timeout"):
        Faults().arm("storage", "objects.get", action)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("service", 5), ("nth", "x"), ("nth", 0), ("count", 0), ("count", 1.5), ("contains", None),
        ("probability", "1"), ("probability", True), ("stall_seconds", -1),
        ("stall_seconds", float("inf")),
    ],
)  # fmt: skip
def test_senseless_values_are_refused(field: str, value: object) -> None:
    faults = Faults()
    rule = {"service": "*", "method": "*", "action": "return-503", field: value}
    with pytest.raises(InputError, match=f"{field} {value!r} makes no sense"):
        faults.add(rule)
    assert faults.armed() == []


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(InputError, match="often"):
        Faults().add({"service": "s", "method": "m", "action": "return-503", "often": 1})


def strikes(faults: Faults, calls: int, method: str = "m", subject: str = "") -> list[int]:
    return [n for n in range(1, calls + 1) if faults.take("s", method, lambda: subject)]


def test_nth_and_count() -> None:
    faults = Faults()
    faults.arm("s", "m", "return-503", nth=2, count=3)
    assert strikes(faults, 8) == [2, 3, 4]
    assert faults.armed()[0]["matched"] == 8


def test_service_method_and_subject_select() -> None:
    faults = Faults()
    faults.arm("s", "*", "return-503", count=None, contains="b/o")
    assert strikes(faults, 2, subject="a b/o1") == [1, 2]
    assert strikes(faults, 2, subject="other") == []
    assert faults.take("t", "m", lambda: "b/o") is None


def test_probability_is_decided_by_the_seed() -> None:
    def run(seed: int) -> list[int]:
        faults = Faults(seed)
        faults.arm("s", "m", "return-503", count=None, probability=0.3)
        return strikes(faults, 100)

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 10 < len(run(1)) < 50


def test_clear_disarms() -> None:
    faults = Faults()
    faults.arm("s", "m", "stall-always", stall_seconds=1.5)
    assert faults.take("s", "m") == Fault("stall-always", "stall", stall_seconds=1.5)
    faults.clear()
    assert faults.armed() == []
    assert faults.take("s", "m") is None


@pytest.mark.timeout(60)
def test_a_subject_that_takes_its_time_stops_nobody() -> None:
    faults = Faults()
    faults.arm("s", "m", "return-503", contains="matched")
    assert faults.take("s", "m", lambda: str(faults.armed())), "others look at the rules meanwhile"


def test_a_subject_is_read_once_and_only_for_who_asks() -> None:
    faults, reads = Faults(), list[str]()
    faults.arm("s", "m", "return-503")
    faults.take("s", "m", lambda: reads.append("read") or "")
    assert reads == []
    for _ in range(2):
        faults.arm("s", "m", "return-503", contains="x")
    faults.take("s", "m", lambda: reads.append("read") or "")
    assert reads == ["read"]
