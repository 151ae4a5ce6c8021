"""Assignment, pruning and healing, without sockets or clocks."""

from __future__ import annotations

from typing import Any

import pytest

from saxflow.cell.roster import PRUNE_SECONDS, REFUSALS, Roster
from saxflow.errors import SaxError
from saxflow.sax import messages as m
from saxflow.sax.names import CellName

CELL = CellName("test")
PATH = "saxml.server.pax.lm.params.saxflow.Llama"


def model(name: str = "m", replicas: int = 1, path: str = PATH) -> m.Model:
    return m.Model(
        model_id=f"/sax/test/{name}",
        model_path=path,
        checkpoint_path="gs://b/checkpoint_00000000",
        requested_num_replicas=replicas,
    )


def join(address: str, *paths: str, topology: int = 22) -> m.JoinRequest:
    spec = m.ModelServer(
        chip_type=15, chip_topology=topology, servable_model_paths=paths or (PATH,)
    )
    return m.JoinRequest(address=address, model_server=spec)


def status(**models: int) -> m.GetStatusResponse:
    return m.GetStatusResponse(
        models=[
            m.GetStatusResponse.ModelWithStatus(model_key=f"/sax/test/{name}", model_status=state)
            for name, state in models.items()
        ]
    )


@pytest.fixture
def roster() -> Roster:
    return Roster(CELL)


def test_an_idle_server_that_advertises_the_path_gets_the_model(roster: Roster) -> None:
    roster.publish(model())
    assert roster.refresh(0).load == ()
    roster.joined(join("b:1", "other.Path"), status(), 0)
    roster.joined(join("a:1"), status(), 0)
    assert roster.refresh(0).load == (("a:1", "/sax/test/m"),)
    assert roster.refresh(0).load == ()
    (listed,) = roster.listed("/sax/test/m")
    assert list(listed.modelet_addresses) == ["a:1"]
    assert listed.model.uuid == b""


def test_a_server_holds_one_model(roster: Roster) -> None:
    roster.publish(model("m"))
    roster.publish(model("n"))
    roster.joined(join("a:1"), status(), 0)
    assert roster.refresh(0).load == (("a:1", "/sax/test/m"),)
    roster.joined(join("b:1"), status(), 0)
    assert roster.refresh(0).load == (("b:1", "/sax/test/n"),)


def test_fewer_replicas_unload_the_last(roster: Roster) -> None:
    roster.publish(model(replicas=2))
    for address in ("a:1", "b:1"):
        roster.joined(join(address), status(), 0)
    assert len(roster.refresh(0).load) == 2
    assert roster.update(model(replicas=1)) == ["a:1", "b:1"]
    assert roster.refresh(0).unload == (("b:1", "/sax/test/m"),)


def test_unpublish_unloads_and_frees_the_name_at_the_next_refresh(roster: Roster) -> None:
    roster.publish(model())
    roster.joined(join("a:1"), status(), 0)
    roster.refresh(0)
    roster.unpublish("/sax/test/m")
    with pytest.raises(SaxError, match="is being unpublished, please retry later"):
        roster.publish(model())
    plan = roster.refresh(0)
    assert plan.unload == (("a:1", "/sax/test/m"),)
    roster.publish(model())
    assert roster.refresh(0).load == (("a:1", "/sax/test/m"),)


def test_names_are_taken_once_and_looked_up(roster: Roster) -> None:
    roster.publish(model())
    with pytest.raises(SaxError, match=r"model \{test m\} already exists"):
        roster.publish(model())
    for call in (roster.unpublish, roster.model, roster.listed, roster.stats):
        with pytest.raises(SaxError, match=r"model \{test no\} not found"):
            call("/sax/test/no")
    with pytest.raises(SaxError, match="not found"):
        roster.update(model("no"))


def test_a_silent_server_is_dropped_and_its_model_goes_elsewhere(roster: Roster) -> None:
    roster.publish(model())
    roster.joined(join("a:1"), status(), 0)
    roster.refresh(0)
    roster.joined(join("b:1"), status(), PRUNE_SECONDS)
    plan = roster.refresh(PRUNE_SECONDS)
    assert plan.dropped == ("a:1",)
    assert plan.load == (("b:1", "/sax/test/m"),)
    assert roster.addresses() == ["b:1"]


def test_an_address_where_nobody_listens_is_dropped_early(roster: Roster) -> None:
    roster.joined(join("a:1"), status(), 0)
    for count in range(1, REFUSALS):
        assert roster.refused("a:1") == count
    roster.pinged("a:1", status(), 1)
    for count in range(1, REFUSALS + 1):
        assert roster.refused("a:1") == count
    assert roster.refresh(2).dropped == ("a:1",)
    assert roster.refused("a:1") == 0


def test_a_restarted_server_is_told_apart_by_its_spec(roster: Roster) -> None:
    roster.publish(model())
    first, second = join("a:1", PATH, "boot.one"), join("a:1", PATH, "boot.two")
    roster.joined(first, status(), 0)
    roster.refresh(0)
    assert roster.knows(first)
    assert not roster.knows(second)
    assert roster.joined(second, status(), 1) == []
    assert roster.refresh(1).load == (("a:1", "/sax/test/m"),)


def test_a_server_that_forgot_its_model_is_found_out(roster: Roster) -> None:
    roster.publish(model())
    roster.joined(join("a:1"), status(), 0)
    roster.refresh(0)
    assert roster.pinged("a:1", status(m=m.LOADED), 1) == []
    assert roster.pinged("a:1", status(), 2) == ["/sax/test/m"]
    assert roster.pinged("gone:1", status(), 2) == []


@pytest.mark.parametrize("state", [m.LOADING, m.LOADED, m.FAILED])
def test_a_server_that_joins_with_a_model_keeps_it(roster: Roster, state: int) -> None:
    roster.publish(model())
    assert roster.joined(join("a:1"), status(m=state, unknown=m.LOADED), 0) == ["/sax/test/m"]
    assert roster.refresh(0).load == ()
    assert roster.loaded("/sax/test/m") == (state == m.LOADED)


def test_outcomes_count_only_what_is_loaded(roster: Roster) -> None:
    roster.publish(model())
    roster.joined(join("a:1"), status(), 0)
    roster.refresh(0)
    roster.outcome("a:1", "/sax/test/m", m.FAILED)
    assert roster.loaded("/sax/test/m") == 0
    roster.outcome("a:1", "/sax/test/m", m.LOADED)
    assert roster.loaded("/sax/test/m") == 1
    roster.outcome("a:1", "/sax/test/m", None)
    roster.outcome("nowhere:1", "/sax/test/m", m.LOADED)
    assert roster.loaded("/sax/test/m") == 0


def test_a_failed_unload_is_asked_for_again(roster: Roster) -> None:
    roster.publish(model())
    roster.joined(join("a:1"), status(), 0)
    roster.refresh(0)
    roster.unpublish("/sax/test/m")
    roster.refresh(0)
    roster.outcome("a:1", "/sax/test/m", m.FAILED)
    assert roster.refresh(0).unload == (("a:1", "/sax/test/m"),)


def test_stats_count_kinds_of_servers(roster: Roster) -> None:
    roster.publish(model())
    for address, topology in (("a:1", 22), ("b:1", 22), ("c:1", 25)):
        roster.joined(join(address, topology=topology), status(), 0)
    roster.refresh(0)

    def counted(model_id: str) -> set[tuple[Any, ...]]:
        return {(s.chip_type, s.chip_topology, s.num_replicas) for s in roster.stats(model_id)}

    assert counted("") == {(15, 22, 2), (15, 25, 1)}
    assert counted("/sax/test/m") == {(15, 22, 1)}


def test_models_published_before_are_known_again(roster: Roster) -> None:
    roster.publish(model())
    again = Roster(CELL, roster.specs())
    assert [p.model.model_id for p in again.listed("")] == ["/sax/test/m"]
    assert len(again.specs()[0].uuid) == 16
