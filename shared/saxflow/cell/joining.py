"""Keep a model server a member of its cell, whatever becomes of the admin.

SAX's own servers join again only when location.proto's bytes change, and every 15 minutes. A join
with the same spec changes nothing for an admin, so this server simply joins every few seconds: an
admin that restarts on the same port has it back at once.

Source: google/saxml v1.1.0 `common/location.go`.
"""

from __future__ import annotations

import asyncio
import logging

from saxflow.errors import SaxflowError
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.channels import Channels
from saxflow.sax.failures import NO_RETRIES
from saxflow.sax.names import CellName
from saxflow.sax.pace import Pace
from saxflow.sax.roots import SaxRoot

JOIN_SECONDS = 10.0
POLL_SECONDS = 5.0
EAGER_SECONDS = 0.2
_log = logging.getLogger(__name__)


async def stay_joined(sax_root: str, cell: CellName, request: m.JoinRequest) -> None:
    """Join the cell's admin and join again for as long as this runs.

    Args:
        request: this server's address and spec.
    """
    root = SaxRoot(sax_root)
    channels = Channels()
    joined = ""
    try:
        while True:
            now = await _join_once(root, cell, request, channels)
            if now and now != joined:
                _log.info("joined %s", now)
            joined = now
            await asyncio.sleep(POLL_SECONDS if joined else EAGER_SECONDS)
    finally:
        await channels.close()


async def _join_once(
    root: SaxRoot, cell: CellName, request: m.JoinRequest, channels: Channels
) -> str:
    """Return the admin's address, or nothing when it could not be joined."""
    try:
        address = await asyncio.to_thread(root.location, cell)
        pace = Pace(f"join {address}", deadline_seconds=JOIN_SECONDS)
        await channels.call(methods.JOIN, address, request, pace=pace, retried=NO_RETRIES)
    except SaxflowError as error:
        _log.debug("cannot join %s: %s", cell, error)
        return ""
    return address
