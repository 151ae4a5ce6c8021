"""The functions that Workflows call, with faults of their own."""

from __future__ import annotations

import json
import threading
from typing import Any

from saxflow.local.http import Dropped, HttpServer, Request, Response, json_response
from saxflow.pipeline import commit, publish, requests

from .chaos import Chaos


class Functions:
    """Both functions of the Workflows behind one HTTP server, with faults of their own."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos
        self.server = HttpServer(self._handle)

    def _handle(self, request: Request) -> Response:
        body = json.loads(request.body.read())
        method = request.path.strip("/") + "." + str(body.get("verb", ""))
        fault = self._chaos.take("functions", method, lambda: json.dumps(body))
        if fault and fault.kind == "return":
            return json_response(fault.status, {"error": {"message": "scripted"}})
        if fault and fault.kind == "stall":
            threading.Event().wait(fault.stall_seconds)
        if fault and fault.kind != "lost":
            raise Dropped(reset=True)
        if request.path == "/commit":
            act: Any = lambda here, core, _: commit.commit_checkpoint(here, core)  # noqa: E731
        else:
            act = publish.act
        answer, status = requests.answer(body, act)
        if fault:
            raise Dropped
        return json_response(status, answer)
