"""Entry point: account for the objects of a converted checkpoint, answer a verdict."""

from __future__ import annotations

import flask
import functions_framework

from saxflow.pipeline.commit import commit_checkpoint as account
from saxflow.pipeline.requests import Answer, answer


@functions_framework.http
def commit_checkpoint(request: flask.Request) -> Answer:
    """Answer {ok, objects, bytes, problems, reason}."""
    return answer(request.get_json(silent=True), lambda here, core, _: account(here, core))
