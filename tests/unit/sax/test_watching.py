"""Replicating a model's addresses."""

from __future__ import annotations

import pytest

from saxflow.errors import ProtocolError
from saxflow.sax import messages as m
from saxflow.sax.watching import Watched

Mutation = m.WatchResult.Mutation


def reply(server: str, seqno: int, *changes: m.WatchResult.Mutation) -> m.WatchLocResponse:
    return m.WatchLocResponse(
        admin_server_id=server,
        result=m.WatchResult(next_seqno=seqno, changelog=list(changes)),
    )


def test_changes_add_up() -> None:
    watched = Watched().after(reply("a", 2, Mutation(addition="h:1"), Mutation(addition="h:2")))
    watched = watched.after(reply("a", 4, Mutation(deletion="h:1"), Mutation(addition="h:3")))
    assert watched == Watched(("h:2", "h:3"), "a", 4)
    assert watched.request("/sax/t/m") == m.WatchLocRequest(
        model_id="/sax/t/m", admin_server_id="a", seqno=4
    )


def test_a_full_set_replaces_what_was_known() -> None:
    full = reply("a", 9, Mutation(addition="h:9"))
    full.result.has_fullset = True
    full.result.values.extend(["h:7", "h:8"])
    assert Watched(("h:1",), "a", 3).after(full).addresses == ("h:7", "h:8", "h:9")


def test_another_admin_starts_from_nothing() -> None:
    watched = Watched(("h:1", "h:2"), "a", 5).after(reply("b", 1, Mutation(addition="h:2")))
    assert watched == Watched(("h:2",), "b", 1)


def test_the_first_request_asks_for_everything() -> None:
    assert Watched().request("/sax/t/m") == m.WatchLocRequest(model_id="/sax/t/m")


def test_deleting_the_unknown_and_adding_twice_are_harmless() -> None:
    watched = Watched().after(
        reply("a", 3, Mutation(deletion="h:9"), Mutation(addition="h:1"), Mutation(addition="h:1"))
    )
    assert watched.addresses == ("h:1",)


def test_a_change_of_no_kind_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolError):
        Watched().after(reply("a", 1, Mutation()))
