"""Entry point: the scheduler's two-minute look at heads and reality."""

from __future__ import annotations

import flask
import functions_framework

from saxflow.pipeline.reconcile import reconcile as make_pass
from saxflow.pipeline.requests import Answer, guarded
from saxflow.pipeline.services import services


@functions_framework.http
def reconcile(_: flask.Request) -> Answer:
    """Answer what was repaired and what could not be."""
    return guarded(lambda: make_pass(services()).to_json())
