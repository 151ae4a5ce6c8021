"""Containers of one VM: named processes with an image, an environment, mounts and a restart policy.

What a container is, its record, is kept in a file, so that after a reboot of the VM the stopped
containers are still there, as Docker leaves them. All the rest of Docker is left out.
"""

from __future__ import annotations

import json
import subprocess
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from saxflow.errors import BusyError, InputError, NotFoundError
from saxflow.local.images import ImageRegistry
from saxflow.local.replacing import replace_file
from saxflow.local.vm.processes import GuardedProcess

RESTART_POLICIES = ("no", "always", "unless-stopped", "on-failure")
COMMAND_MISSING = 127
_ALIVE = ("running", "restarting")
_FIRST_BACKOFF_SECONDS = 0.1
_DOUBLINGS = 9  # 51 s; Docker stops at a minute
_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Container:
    """The record of a container.

    Args:
        args: what follows the image on the command line.
        mounts: path inside -> path on the VM.
        restart: a policy, `on-failure:N` included.
        status: `created`, `running`, `restarting` or `exited`, as Docker names them.
        stopped_by_user: `unless-stopped` leaves it alone.
    """

    id: str
    name: str
    image: str
    args: list[str]
    entrypoint: str | None = None
    env: dict[str, str] = field(default_factory=dict[str, str])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    mounts: dict[str, str] = field(default_factory=dict[str, str])
    binds: list[str] = field(default_factory=list[str])
    extra_hosts: list[str] = field(default_factory=list[str])
    network: str = "bridge"
    privileged: bool = False
    restart: str = "no"
    auto_remove: bool = False
    workdir: str = ""
    status: str = "created"
    exit_code: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    created: str = _NEVER
    started: str = _NEVER
    finished: str = _NEVER

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.status == "running"


def new_id() -> str:
    """Return a fresh container id."""
    return uuid.uuid4().hex + uuid.uuid4().hex


def timestamp() -> str:
    """Return the current time as Docker writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Engine:
    """Runs containers.

    Args:
        directory: records and logs, `<name>.json` and `<name>.log`.
        registry: which images exist.
        base_env: environment of every container, before its own.
    """

    def __init__(
        self, directory: Path, registry: Callable[[], ImageRegistry], base_env: Mapping[str, str]
    ) -> None:
        self._directory = directory
        self._registry = registry
        self._base_env = dict(base_env)
        self._lock = threading.RLock()
        self._processes: dict[str, GuardedProcess] = {}
        self._pulled: set[str] = set()
        directory.mkdir(parents=True, exist_ok=True)
        self._containers = {c.name: c for c in self._load()}

    def _load(self) -> list[Container]:
        records = [json.loads(f.read_text()) for f in sorted(self._directory.glob("*.json"))]
        found = [Container(**record) for record in records]
        return [
            replace(c, status="exited", exit_code=255) if c.status in _ALIVE else c for c in found
        ]

    def boot(self) -> None:
        """Start what its restart policy brings back after a reboot; what removes itself is gone."""
        with self._lock:
            for container in list(self._containers.values()):
                if container.restart == "always" or (
                    container.restart == "unless-stopped" and not container.stopped_by_user
                ):
                    self._start_again(container)
                elif container.auto_remove:
                    self._forget(container)

    def pull(self, image: str) -> None:
        """Fetch an image.

        Raises:
            NotFoundError: the registry has no such image.
        """
        self._registry().command(image)
        with self._lock:
            self._pulled.add(image)

    def images(self) -> list[str]:
        """Return the images that were pulled."""
        with self._lock:
            return sorted(self._pulled)

    def run(self, container: Container) -> Container:
        """Create and start a container; its image is pulled when it is not there.

        Raises:
            BusyError: the name is taken.
            NotFoundError: the registry has no such image.
            InputError: it has no command, or cannot be started.
        """
        with self._lock:
            taken = self._containers.get(container.name)
            if taken is not None:
                raise BusyError(
                    f'Conflict. The container name "/{container.name}" is already in use by'
                    f' container "{taken.id}". You have to remove (or rename) that container.'
                )
            self.pull(container.image)
            self._argv(container)
            self._keep(replace(container, created=timestamp()))
            return self._start(self._containers[container.name])

    def run_to_end(self, container: Container) -> tuple[int, str]:
        """Run a container; return its exit code and what it wrote.

        Raises:
            BusyError, NotFoundError, InputError: as `run`.
        """
        with self._lock:  # one that removes itself cannot be gone before its log is open
            started = self.run(container)
            log = self.log(started).open(encoding="utf-8", errors="replace")
            process = self._processes[started.name]
        with log:
            return self._await(started.name, process), log.read()

    def find(self, reference: str) -> Container:
        """Return a container by name or by the beginning of its id.

        Raises:
            NotFoundError: there is none.
        """
        name = reference.removeprefix("/")
        with self._lock:
            if name in self._containers:
                return self._containers[name]
            for container in self._containers.values():
                if len(name) >= 4 and container.id.startswith(name):
                    return container
        raise NotFoundError(f"No such container: {reference}")

    def list(self) -> list[Container]:
        """Return all containers, the newest first."""
        with self._lock:
            return sorted(self._containers.values(), key=lambda c: c.created, reverse=True)

    def log(self, container: Container) -> Path:
        """Return the file that the container writes to."""
        return self._directory / f"{container.name}.log"

    def environment(self, container: Container) -> dict[str, str]:
        """Return the whole environment of a container's process."""
        mounts = json.dumps(container.mounts)
        return {**self._base_env, **container.env, "SAXFLOW_CONTAINER_MOUNTS": mounts}

    def start(self, reference: str) -> None:
        """Start a stopped container; a running one is left alone.

        Raises:
            NotFoundError: there is none, or its image is no more.
            InputError: it cannot be started.
        """
        with self._lock:
            container = self.find(reference)
            if container.name not in self._processes:
                self._start(container)

    def stop(self, reference: str, grace_seconds: float = 10.0) -> None:
        """Send SIGTERM, after the grace SIGKILL, and return when it has ended."""
        with self._lock:
            name = self._stopped_by_user(reference).name
            process = self._processes.get(name)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        self._await(name, process)

    def kill(self, reference: str) -> None:
        """Kill a container at once; its restart policy does not bring it back."""
        with self._lock:
            name = self._stopped_by_user(reference).name
            process = self._processes.get(name)
            if process is not None:
                process.kill()
                self._await(name, process)

    def wait(self, reference: str) -> int:
        """Return the exit code once the container has stopped."""
        with self._lock:
            container = self.find(reference)
            process = self._processes.get(container.name)
        return container.exit_code if process is None else self._await(container.name, process)

    def remove(self, reference: str, *, force: bool) -> None:
        """Remove a container.

        Raises:
            NotFoundError: there is none.
            BusyError: it runs and `force` is not set.
        """
        with self._lock:
            container = self.find(reference)
            if container.running and not force:
                raise BusyError(
                    f'cannot remove container "/{container.name}": container is running: stop the'
                    " container before removing or force remove"
                )
            self.kill(container.name)
            self._forget(container)

    def _argv(self, container: Container) -> list[str]:
        command = self._registry().command(container.image)
        if container.entrypoint is not None:
            command = [container.entrypoint] if container.entrypoint else []
        argv = [*command, *container.args]
        if not argv:
            raise InputError("no command specified")
        return argv

    def _start(self, container: Container) -> Container:
        try:
            process = GuardedProcess(
                self._argv(container),
                env=self.environment(container),
                output=self.log(container),
                cwd=Path(container.workdir) if container.workdir else None,
            )
        except OSError as error:
            raise InputError(f"container {container.name} cannot be started: {error}") from error
        self._processes[container.name] = process
        started = self._keep(
            replace(container, status="running", started=timestamp(), stopped_by_user=False)
        )
        threading.Thread(target=self._await, args=(started.name, process), daemon=True).start()
        return started

    def _start_again(self, container: Container) -> None:
        """Start it for its restart policy; what is in the way stands in its log."""
        try:
            self._start(container)
        except (InputError, NotFoundError) as error:
            self._keep(replace(container, status="exited", exit_code=COMMAND_MISSING))
            with self.log(container).open("a", encoding="utf-8") as log:
                log.write(f"{error}\n")

    def _stopped_by_user(self, reference: str) -> Container:
        container = self.find(reference)
        status = "exited" if container.status == "restarting" else container.status
        return self._keep(replace(container, stopped_by_user=True, status=status))

    def _await(self, name: str, process: GuardedProcess) -> int:
        """Return the exit code of a container's process once the record tells of its end."""
        code = process.wait()
        with self._lock:
            if self._processes.get(name) is process:
                del self._processes[name]
                self._end(self._containers[name], code)
        return code

    def _end(self, container: Container, code: int) -> None:
        ended = self._keep(
            replace(container, status="exited", exit_code=code, finished=timestamp())
        )
        if _restarts(ended):
            self._restart_later(ended)
        elif ended.auto_remove:
            self._forget(ended)

    def _restart_later(self, container: Container) -> None:
        waiting = self._keep(
            replace(container, status="restarting", restart_count=container.restart_count + 1)
        )
        delay = _FIRST_BACKOFF_SECONDS * 2 ** min(container.restart_count, _DOUBLINGS)
        timer = threading.Timer(delay, self._restart, args=(waiting,))
        timer.daemon = True
        timer.start()

    def _restart(self, container: Container) -> None:
        with self._lock:
            if self._containers.get(container.name) == container:
                self._start_again(container)

    def _keep(self, container: Container) -> Container:
        self._containers[container.name] = container
        file = self._directory / f"{container.name}.json"
        replace_file(file, json.dumps(asdict(container)))
        return container

    def _forget(self, container: Container) -> None:
        self._containers.pop(container.name, None)
        (self._directory / f"{container.name}.json").unlink(missing_ok=True)
        self.log(container).unlink(missing_ok=True)


def _restarts(container: Container) -> bool:
    policy, _, limit = container.restart.partition(":")
    if container.stopped_by_user or policy == "no":
        return False
    if policy == "on-failure":
        within = not limit or container.restart_count < int(limit)
        return container.exit_code != 0 and within
    return True
