"""Entry point: the HTTP faces of every model that serves."""

from __future__ import annotations

from saxflow.serving.app import application
from saxflow.serving.server import serve

app = application()

if __name__ == "__main__":
    serve(app)
