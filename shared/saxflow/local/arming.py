"""Faults and outcomes over HTTP, so that what does not share the cloud's process can arm them too.

GET lists what is armed, POST arms one more, DELETE disarms; each answers with what is armed then.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from saxflow.errors import InputError
from saxflow.local.faults import Faults
from saxflow.local.http import Handler, Request, Response, json_response
from saxflow.local.outcomes import Outcomes


def fault_admin(faults: Faults) -> Handler:
    """Return the handler of the faults' endpoint; DELETE disarms them all."""
    return _admin(
        lambda: {"faults": faults.armed()}, arm=faults.add, disarm=lambda _: faults.clear()
    )


def outcome_admin(outcomes: Outcomes) -> Handler:
    """Return the handler of the outcomes' endpoint; DELETE with `release` only ends holds."""

    def disarm(request: Request) -> None:
        release = request.first("release")
        outcomes.clear() if release is None else outcomes.release(release)

    return _admin(
        lambda: {"outcomes": outcomes.armed()},
        arm=lambda fields: outcomes.arm(**fields),
        disarm=disarm,
    )


def _admin(
    listed: Callable[[], Any], *, arm: Callable[[Any], object], disarm: Callable[[Request], None]
) -> Handler:
    def handle(request: Request) -> Response:
        if request.method == "DELETE":
            disarm(request)
        elif request.method == "POST":
            try:
                arm(json.loads(request.body.read()))
            except (ValueError, TypeError, RecursionError, InputError) as error:
                return json_response(400, {"error": {"code": 400, "message": str(error)}})
        return json_response(200, listed())

    return handle
