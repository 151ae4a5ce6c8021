"""Entry point: one idempotent verb on the cell of an attempt."""

from __future__ import annotations

import flask
import functions_framework

from saxflow.pipeline.publish import act
from saxflow.pipeline.requests import Answer, answer


@functions_framework.http
def publish_model(request: flask.Request) -> Answer:
    """Answer {done, failed, reason, retryable, log} of the verb ready, publish, status, probe or unpublish."""
    return answer(request.get_json(silent=True), act)
