"""Run one Cloud Run function: the application of functions-framework on a threaded server.

    PORT=8080 python -m saxflow.local.function_host SOURCE TARGET SIGNATURE

The framework's own command starts gunicorn around the same application, which takes twice as long.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import cast

import functions_framework
from flask import Flask
from werkzeug.serving import make_server

from saxflow.local.http import LOOPBACK


def main(source: str, target: str, signature: str) -> None:
    """Serve until killed."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(source)))
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    application = cast(Flask, functions_framework.create_app(target, source, signature))
    make_server(LOOPBACK, int(os.environ["PORT"]), application, threaded=True).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
