"""What an admin knows: published models, joined servers, and who should serve what.

No sockets, files or clock here. The admin server calls in with what happened and carries out the
`Plan` that `refresh` returns.

Source: google/saxml v1.1.0 `admin/mgr.go`, `admin/state.go`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from saxflow.cell import validators
from saxflow.cell.refusals import admin_refusal
from saxflow.cell.watchable import Watchable
from saxflow.sax import messages as m
from saxflow.sax.names import CellName, ModelName

PRUNE_SECONDS = 25.0
"""A server that has not answered GetStatus for this long is dropped."""
REFUSALS = 3
"""A server at whose address nobody listens is dropped after so many polls in a row."""


@dataclass
class Published:
    """One published model and where it is assigned."""

    name: ModelName
    spec: m.Model
    watchable: Watchable = field(default_factory=Watchable)


@dataclass
class Server:
    """One joined model server.

    Args:
        spec: what it said of itself when it joined.
        wanted: model IDs it holds or will hold once what was asked of it is done.
        seen: model ID -> status it last reported.
        last_ping: when it last answered, seconds of a monotonic clock.
        refusals: polls in a row that found nobody listening.
    """

    address: str
    spec: m.ModelServer
    last_ping: float
    wanted: set[str] = field(default_factory=set[str])
    seen: dict[str, int] = field(default_factory=dict[str, int])
    refusals: int = 0


@dataclass(frozen=True)
class Plan:
    """What a refresh decided.

    Args:
        load, unload: pairs of server address and model ID.
        dropped: addresses of servers that were pruned.
    """

    load: tuple[tuple[str, str], ...]
    unload: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]


class Roster:
    """State of one admin; names in errors are SAX's own."""

    def __init__(self, cell: CellName, models: Sequence[m.Model] = ()) -> None:
        self.cell = cell
        self._models: dict[str, Published] = {}
        self._servers: dict[str, Server] = {}
        self._assignment: dict[str, list[str]] = {}
        self._unpublished: set[str] = set()
        for model in models:
            name = ModelName.parse(model.model_id)
            self._models[str(name)] = Published(name, model)

    def publish(self, model: m.Model) -> None:
        """Accept a model.

        Raises:
            SaxError: INVALID_ARGUMENT, UNIMPLEMENTED or ALREADY_EXISTS.
        """
        name = validators.check_model(model, self.cell)
        if str(name) in self._models:
            raise admin_refusal(f"model {_label(name)} already exists", "ALREADY_EXISTS")
        if str(name) in self._unpublished:
            raise admin_refusal(
                f"model {_label(name)} is being unpublished, please retry later", "ALREADY_EXISTS"
            )
        kept = m.Model()
        kept.CopyFrom(model)
        kept.uuid = secrets.token_bytes(16)
        self._models[str(name)] = Published(name, kept)

    def update(self, model: m.Model) -> list[str]:
        """Replace a model's changeable fields; return the servers that must be told.

        Raises:
            SaxError: INVALID_ARGUMENT, UNIMPLEMENTED or NOT_FOUND.
        """
        name = validators.check_model(model, self.cell)
        held = self._find(name)
        validators.check_update(held.spec, model)
        kept = m.Model()
        kept.CopyFrom(model)
        kept.uuid = held.spec.uuid
        held.spec = kept
        return [a for a in self._assignment.get(str(name), []) if a in self._servers]

    def unpublish(self, model_id: str) -> None:
        """Forget a model; the next refresh unloads it.

        Raises:
            SaxError: INVALID_ARGUMENT or NOT_FOUND.
        """
        name = validators.model_name(model_id, self.cell)
        held = self._find(name)
        self._unpublished.add(str(name))
        del self._models[str(name)]
        held.watchable.close()

    def model(self, model_id: str) -> Published:
        """Return a published model.

        Raises:
            SaxError: INVALID_ARGUMENT or NOT_FOUND.
        """
        return self._find(validators.model_name(model_id, self.cell))

    def listed(self, model_id: str) -> list[m.PublishedModel]:
        """Return one published model, or all of them for an empty ID.

        Raises:
            SaxError: INVALID_ARGUMENT or NOT_FOUND.
        """
        chosen = [self.model(model_id)] if model_id else list(self._models.values())
        return [self._entry(published) for published in chosen]

    def stats(self, model_id: str) -> list[m.ModelServerTypeStat]:
        """Count joined servers by kind, or those assigned to one model.

        Raises:
            SaxError: INVALID_ARGUMENT or NOT_FOUND.
        """
        counts: dict[tuple[int, int], int] = {}
        for server in self._located(model_id):
            kind = (server.spec.chip_type, server.spec.chip_topology)
            counts[kind] = counts.get(kind, 0) + 1
        return [
            m.ModelServerTypeStat(chip_type=chip, chip_topology=topology, num_replicas=count)
            for (chip, topology), count in counts.items()
        ]

    def loaded(self, model_id: str) -> int:
        """Return how many servers report a model LOADED."""
        return sum(server.seen.get(model_id) == m.LOADED for server in self._servers.values())

    def specs(self) -> list[m.Model]:
        """Return what must be persisted."""
        return [published.spec for published in self._models.values()]

    def addresses(self) -> list[str]:
        """Return the addresses of all joined servers."""
        return sorted(self._servers)

    def knows(self, request: m.JoinRequest) -> bool:
        """Tell whether this server has joined with this very spec: a heartbeat."""
        held = self._servers.get(request.address)
        return held is not None and held.spec == request.model_server

    def joined(self, request: m.JoinRequest, status: m.GetStatusResponse, now: float) -> list[str]:
        """Take in a server, in place of one with the same address.

        Returns:
            The published models it already holds; they must be told the models' current fields.
        """
        server = Server(request.address, request.model_server, now)
        self._servers[request.address] = server
        self._report(server, status, now)
        for model_id, state in server.seen.items():
            if state in (m.LOADING, m.LOADED, m.FAILED):
                server.wanted.add(model_id)
                self._models[model_id].watchable.add(server.address)
        return sorted(server.wanted)

    def pinged(self, address: str, status: m.GetStatusResponse, now: float) -> list[str]:
        """Take in a server's status.

        Returns:
            Models it should hold and does not know of: it has restarted, and must be sent them again.
        """
        server = self._servers.get(address)
        if server is None:
            return []
        self._report(server, status, now)
        return sorted(server.wanted - set(server.seen))

    def refused(self, address: str) -> int:
        """Take in that nobody listens at an address; return how often in a row."""
        server = self._servers.get(address)
        if server is None:
            return 0
        server.refusals += 1
        return server.refusals

    def outcome(self, address: str, model_id: str, state: int | None) -> None:
        """Record what a Load (LOADED, FAILED) or Unload (None, or FAILED) came to."""
        server = self._servers.get(address)
        if server is None:
            return
        if state is None:
            server.seen.pop(model_id, None)
            return
        server.seen[model_id] = state
        if model_id in self._models or state == m.FAILED:
            server.wanted.add(model_id)

    def refresh(self, now: float) -> Plan:
        """Prune silent servers and assign idle ones to models that want more."""
        dropped = tuple(self._prune(now))
        unload = list(self._outdated())
        load: list[tuple[str, str]] = []
        assignment: dict[str, list[str]] = {}
        idle = [a for a in sorted(self._servers) if not self._is_busy(self._servers[a])]
        for model_id, published in self._models.items():
            servers = [a for a in sorted(self._servers) if model_id in self._servers[a].wanted]
            requested = published.spec.requested_num_replicas
            for address in servers[requested:]:
                unload.append((address, model_id))
            servers = servers[:requested]
            fitting = [a for a in idle if self._fits(a, published.spec)]
            for address in fitting[: requested - len(servers)]:
                idle.remove(address)
                servers.append(address)
                load.append((address, model_id))
            assignment[model_id] = servers
        self._assignment = assignment
        self._carry_out(load, unload)
        self._unpublished.clear()
        return Plan(tuple(load), tuple(unload), dropped)

    def _carry_out(self, load: list[tuple[str, str]], unload: list[tuple[str, str]]) -> None:
        for address, model_id in unload:
            self._servers[address].wanted.discard(model_id)
            if model_id in self._models:
                self._models[model_id].watchable.discard(address)
        for address, model_id in load:
            self._servers[address].wanted.add(model_id)
            self._models[model_id].watchable.add(address)

    def _prune(self, now: float) -> Iterator[str]:
        for address, server in list(self._servers.items()):
            if now - server.last_ping < PRUNE_SECONDS and server.refusals < REFUSALS:
                continue
            for model_id in server.wanted & set(self._models):
                self._models[model_id].watchable.discard(address)
            del self._servers[address]
            yield address

    def _outdated(self) -> Iterator[tuple[str, str]]:
        for address in sorted(self._servers):
            for model_id in sorted(self._servers[address].wanted - set(self._models)):
                yield address, model_id

    def _is_busy(self, server: Server) -> bool:
        return bool(server.wanted & set(self._models))

    def _fits(self, address: str, spec: m.Model) -> bool:
        return spec.model_path in self._servers[address].spec.servable_model_paths

    def _report(self, server: Server, status: m.GetStatusResponse, now: float) -> None:
        server.last_ping, server.refusals = now, 0
        server.seen = {
            model.model_key: model.model_status
            for model in status.models
            if model.model_key in self._models or model.model_key in server.wanted
        }

    def _located(self, model_id: str) -> list[Server]:
        if not model_id:
            return list(self._servers.values())
        addresses = self._assignment.get(str(self.model(model_id).name), [])
        missing = next((a for a in addresses if a not in self._servers), None)
        if missing is not None:
            raise admin_refusal(f"model server {missing} not found", "NOT_FOUND")
        return [self._servers[address] for address in addresses]

    def _entry(self, published: Published) -> m.PublishedModel:
        spec = m.Model()
        spec.CopyFrom(published.spec)
        spec.uuid = b""
        addresses = self._assignment.get(str(published.name), [])
        return m.PublishedModel(model=spec, modelet_addresses=addresses)

    def _find(self, name: ModelName) -> Published:
        held = self._models.get(str(name))
        if held is None:
            raise admin_refusal(f"model {_label(name)} not found", "NOT_FOUND")
        return held


def _label(name: ModelName) -> str:
    """Return a name as Go prints the struct that holds it."""
    return f"{{{name.cell.cell} {name.model}}}"
