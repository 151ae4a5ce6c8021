"""Notice at once that the embedded cloud which a shell points at is gone.

Google's clients try a refused connection again for two minutes, which is right for a service and
wrong for a terminal in which `saxflow local env` was evaluated yesterday.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from saxflow.errors import ConfigurationError

CONNECT_SECONDS = 5.0


def require_storage(*places: str) -> None:
    """Check that somebody listens where `STORAGE_EMULATOR_HOST` points; Google's own is not asked.

    Args:
        places: paths and URIs that a command is about to use; when all are local, nothing is
            checked. None at all stands for the installation's buckets.

    Raises:
        ConfigurationError: nobody listens there.
    """
    from saxflow.settings import load_endpoints

    root = load_endpoints().storage
    if root is None or (places and not any(place.startswith("gs://") for place in places)):
        return
    parts = urlsplit(root if "://" in root else f"//{root}")
    try:
        address = (parts.hostname or "", parts.port or 80)
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"nobody answers at {root}, where STORAGE_EMULATOR_HOST points; start the embedded"
            ' cloud with `saxflow local up`, then run `eval "$(saxflow local env)"` again'
        ) from error
