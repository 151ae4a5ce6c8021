"""Scripted faults: what goes wrong, where and at which call, deterministic by seed.

A rule names a service (`storage`, `pubsub`, `batch`, `tpu`, `workflows`, `executions`, `operations`,
`eventarc`), a method of it and an action; servers ask `take` before each call. Methods are the RPC's name in
snake_case (`create_job`), for storage the JSON API's (`objects.insert`, `objects.get`). Actions
carry the names of Google's storage-testbench where it has them:

    return-503, return-429, ...      answer with this HTTP status (or its gRPC code), do nothing
    return-503-after-256K            the same after this much of an upload was received and kept
    return-broken-stream             half of the media, then the connection closes
    return-corrupted-data            media whose first byte differs from what is stored
    return-reset-connection          a TCP reset, nothing done
    stall-always                     no answer for `stall_seconds`, then a closed connection
    stall-at-256KiB                  the same after this much media
    execute-and-timeout              the call is carried out, its answer is lost

Source: googleapis/storage-testbench README, "Forced Failures/Retries".
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from saxflow.errors import InputError
from saxflow.local.sensible import check_fields, is_amount, is_count, is_count_or_none, is_text

Kind = Literal["return", "broken-stream", "corrupted-data", "reset-connection", "stall", "lost"]

_PLAIN: dict[str, Kind] = {
    "return-broken-stream": "broken-stream",
    "return-corrupted-data": "corrupted-data",
    "return-reset-connection": "reset-connection",
    "stall-always": "stall",
    "execute-and-timeout": "lost",
}
_RETURN = re.compile(r"return-([1-5]\d\d)(?:-after-(\d+)K)?")
_STALL = re.compile(r"stall-at-(\d+)KiB")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong in one call.

    Args:
        action: its name as armed.
        kind: what a server has to do.
        status: HTTP status of a `return`.
        after_bytes: media that passes first; None when the fault comes at once.
        stall_seconds: how long a `stall` keeps silent.
    """

    action: str
    kind: Kind
    status: int = 0
    after_bytes: int | None = None
    stall_seconds: float = 10.0


def parse_action(action: str, stall_seconds: float = 10.0) -> Fault:
    """Read the name of an action.

    Raises:
        InputError: no such action.
    """
    if action in _PLAIN:
        return Fault(action, _PLAIN[action], stall_seconds=stall_seconds)
    if match := _RETURN.fullmatch(action):
        after = int(match[2]) * 1024 if match[2] else None
        return Fault(action, "return", int(match[1]), after)
    if match := _STALL.fullmatch(action):
        return Fault(action, "stall", 0, int(match[1]) * 1024, stall_seconds)
    raise InputError(
        f"fault action {action!r} is unknown; use one of {', '.join(_PLAIN)},"
        " return-CODE, return-CODE-after-NK, stall-at-NKiB"
    )


@dataclass(frozen=True)
class Rule:
    """When a fault strikes.

    Args:
        service, method: of the call; `*` is any.
        action: see the module.
        nth: first call, counted from 1 over the calls that match, that is struck.
        count: how many calls are struck from then on; None for all.
        contains: only calls whose subject (bucket/object, or the request as text) contains it.
        probability: strike only this share of the calls, chosen by the seed.
        stall_seconds: how long a stall lasts.
    """

    service: str
    method: str
    action: str
    nth: int = 1
    count: int | None = 1
    contains: str = ""
    probability: float = 1.0
    stall_seconds: float = 10.0


@dataclass
class _Armed:
    """A rule, what it does to a call, and the number of calls it has matched."""

    rule: Rule
    fault: Fault
    matched: int = 0


class Faults:
    """The rules that are armed, and how often each has matched."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []

    def arm(self, service: str, method: str, action: str, **when: Any) -> Rule:
        """Add a rule; keyword arguments are those of `Rule`.

        Raises:
            InputError: unknown action or argument.
        """
        return self.add({"service": service, "method": method, "action": action, **when})

    def add(self, fields: Mapping[str, Any]) -> Rule:
        """Add a rule given as a mapping, as the admin endpoint receives it.

        Raises:
            InputError: unknown action, unknown, missing or senseless field.
        """
        try:
            rule = Rule(**fields)
        except TypeError as error:
            raise InputError(f"fault rule {fields!r}: {error}") from error
        check_fields("fault rule", rule, _SENSIBLE)
        fault = parse_action(rule.action, rule.stall_seconds)
        with self._lock:
            self._armed.append(_Armed(rule, fault))
        return rule

    def clear(self) -> None:
        """Disarm everything."""
        with self._lock:
            self._armed.clear()

    def armed(self) -> list[dict[str, Any]]:
        """Return every rule with `matched`, the number of calls it has matched."""
        with self._lock:
            return [{**asdict(each.rule), "matched": each.matched} for each in self._armed]

    def take(self, service: str, method: str, subject: Callable[[], str] = str) -> Fault | None:
        """Return what goes wrong in this call, None for nothing; counts the call.

        Args:
            subject: asked for only when a rule needs it; may wait for the request's body.
        """
        with self._lock:
            concerned = [each for each in self._armed if _concerns(each.rule, service, method)]
        text = subject() if any(each.rule.contains for each in concerned) else ""
        return self._counted([each for each in concerned if each.rule.contains in text])

    def _counted(self, matching: Sequence[_Armed]) -> Fault | None:
        struck: Fault | None = None
        with self._lock:
            for each in matching:
                each.matched += 1
                if struck is None and self._strikes(each.rule, each.matched):
                    struck = each.fault
        return struck

    def _strikes(self, rule: Rule, call: int) -> bool:
        if call < rule.nth or (rule.count is not None and call >= rule.nth + rule.count):
            return False
        if rule.probability >= 1.0:
            return True
        draw = random.Random(f"{self._seed}/{rule.service}/{rule.method}/{call}").random()
        return draw < rule.probability


_SENSIBLE = {
    "service": is_text,
    "method": is_text,
    "action": is_text,
    "contains": is_text,
    "nth": is_count,
    "count": is_count_or_none,
    "probability": is_amount,
    "stall_seconds": is_amount,
}


def _concerns(rule: Rule, service: str, method: str) -> bool:
    return rule.service in ("*", service) and rule.method in ("*", method)
