"""Listen: uvicorn around the application, with a grace period for what is in flight at SIGTERM."""

from __future__ import annotations

import math

import uvicorn
from starlette.applications import Starlette

from saxflow.serving.access import check_exposure
from saxflow.settings import ServingSettings, load_serving_settings


def serve(app: Starlette, settings: ServingSettings | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: nobody would guard the address.
    """
    chosen = settings or load_serving_settings()
    check_exposure(chosen)
    config = uvicorn.Config(
        app,
        host=chosen.host,
        port=chosen.port,
        lifespan="on",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(chosen.drain_seconds),
    )
    uvicorn.Server(config).run()
