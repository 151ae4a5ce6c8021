"""The addresses that serve a model, replicated from WatchLoc replies.

A reply carries either the full set or the changes since a sequence number; numbers are only
comparable within one admin process, which the reply's server id names.

Source: google/saxml v1.1.0 `saxml/common/watchable.go`, `saxml/admin/admin.go` (WatchLoc).
"""

from __future__ import annotations

from dataclasses import dataclass

from saxflow.errors import ProtocolError
from saxflow.sax import messages as m


@dataclass(frozen=True)
class Watched:
    """A replica of one model's address set.

    Args:
        addresses: `host:port`, in the order they were added.
        server_id: the admin process the sequence number belongs to.
        seqno: the next change to ask for.
    """

    addresses: tuple[str, ...] = ()
    server_id: str = ""
    seqno: int = 0

    def request(self, model_id: str) -> m.WatchLocRequest:
        """Return the request for what happened since."""
        return m.WatchLocRequest(
            model_id=model_id, admin_server_id=self.server_id, seqno=self.seqno
        )

    def after(self, reply: m.WatchLocResponse) -> Watched:
        """Return the replica with a reply applied.

        A restarted admin counts from zero again, so what its predecessor said is forgotten.

        Raises:
            ProtocolError: a change is neither an addition nor a deletion.
        """
        known = self.addresses if reply.admin_server_id == self.server_id else ()
        addresses = dict.fromkeys(reply.result.values if reply.result.has_fullset else known)
        for change in reply.result.changelog:
            match change.WhichOneof("kind"):
                case "addition":
                    addresses[change.addition] = None
                case "deletion":
                    addresses.pop(change.deletion, None)
                case _:
                    raise ProtocolError("WatchLoc sent a change that adds and deletes nothing")
        return Watched(tuple(addresses), reply.admin_server_id, reply.result.next_seqno)
