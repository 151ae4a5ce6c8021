"""`systemctl` and the few kinds of unit that a startup script writes.

A unit file is read where the script put it, below the VM's root; a started unit is its ExecStart as
a process, brought back by `Restart=` until it is stopped.

Source: https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html
"""

from __future__ import annotations

import logging
import re
import shlex
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from saxflow.errors import InputError, NotFoundError
from saxflow.local.vm.commands import Reply, UsageError, parse
from saxflow.local.vm.processes import GuardedProcess

UNIT_DIRECTORY = "etc/systemd/system"
_NOW = {"enable": "start", "disable": "stop"}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unit:
    """What a unit file says, as far as it is obeyed."""

    name: str
    exec_start: list[str]
    environment: dict[str, str] = field(default_factory=dict[str, str])
    restart: str = "no"
    restart_seconds: float = 0.1


@dataclass
class Running:
    """A started unit; `stopping` is set before its process is ended on purpose."""

    unit: Unit
    process: GuardedProcess
    stopping: threading.Event = field(default_factory=threading.Event)


def read_unit(name: str, text: str) -> Unit:
    """Parse a unit file.

    Raises:
        InputError: a line that is no setting, a value that cannot be read, or no ExecStart.
    """
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith(("#", ";", "[")):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise InputError(f"{name}: {line!r} is neither a section nor a setting")
        settings.setdefault(key.strip(), []).append(value.strip())
    if not settings.get("ExecStart", [""])[-1]:
        raise InputError(f"{name}: it has no ExecStart=")
    return Unit(
        name,
        _words(name, "ExecStart", settings["ExecStart"][-1]),
        dict(pair for line in settings.get("Environment", []) for pair in _assignments(name, line)),
        settings.get("Restart", ["no"])[-1],
        _seconds(name, settings.get("RestartSec", ["0.1"])[-1]),
    )


def _words(name: str, key: str, value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError as error:
        raise InputError(f"{name}: {key}={value}: {error}") from error


def _assignments(name: str, value: str) -> list[tuple[str, str]]:
    words = [word.partition("=") for word in _words(name, "Environment", value)]
    if not all(equals for _, equals, _ in words):
        raise InputError(f"{name}: Environment={value}: each word must be NAME=VALUE")
    return [(variable, text) for variable, _, text in words]


def _seconds(name: str, value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?s?", value):
        raise InputError(f"{name}: RestartSec={value}: write a number of seconds")
    return float(value.removesuffix("s"))


class Systemctl:
    """The command, and the units it has started.

    Args:
        root: the VM's root directory.
        base_env: environment of every unit.
    """

    def __init__(self, root: Path, base_env: Mapping[str, str]) -> None:
        self._root = root
        self._base_env = dict(base_env)
        self._lock = threading.RLock()
        self._running: dict[str, Running] = {}
        self._commands: dict[str, Callable[[str], Reply]] = {
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "enable": self._enable,
            "disable": self._disable,
            "is-active": self._is_active,
        }

    def __call__(self, argv: list[str], _stdin: str) -> Reply:
        """Carry out one command line, without the word `systemctl`."""
        try:
            parsed = parse(argv, {"--no-block", "--quiet", "-q"}, set())
            verb, names = "".join(parsed.rest[:1]), parsed.rest[1:]
            if verb == "daemon-reload":
                return Reply()
            if verb not in self._commands:
                raise UsageError(f"Unknown command verb {verb}.")
            verbs = [verb, _NOW[verb]] if "--now" in names and verb in _NOW else [verb]
            units = [_full(name) for name in names if name != "--now"]
            replies = [self._commands[v](unit) for v in verbs for unit in units]
        except (InputError, NotFoundError) as error:
            return Reply(1, "", f"{error}\n")
        return Reply(
            max((r.code for r in replies), default=0),
            "".join(r.stdout for r in replies),
            "".join(r.stderr for r in replies),
        )

    def boot(self) -> None:
        """Start the units that were enabled before the reboot."""
        wanted = self._root / UNIT_DIRECTORY / "multi-user.target.wants"
        for link in sorted(wanted.glob("*.service")):
            try:
                self._start(link.name)
            except (InputError, NotFoundError) as error:
                _LOG.warning("%s", error)  # the others come up all the same

    def _start(self, name: str) -> Reply:
        with self._lock:
            if name not in self._running:
                self._launch(self._read(name))
        return Reply()

    def _stop(self, name: str) -> Reply:
        with self._lock:
            running = self._running.pop(name, None)
        if running is not None:
            running.stopping.set()
            running.process.kill()
        return Reply()

    def _restart(self, name: str) -> Reply:
        self._stop(name)
        return self._start(name)

    def _enable(self, name: str) -> Reply:
        self._read(name)
        self._wants(name).parent.mkdir(parents=True, exist_ok=True)
        self._wants(name).touch()
        return Reply()

    def _disable(self, name: str) -> Reply:
        self._wants(name).unlink(missing_ok=True)
        return Reply()

    def _is_active(self, name: str) -> Reply:
        with self._lock:
            running = self._running.get(name)
        active = running is not None and running.process.running()
        return Reply(0, "active\n") if active else Reply(3, "inactive\n")

    def _wants(self, name: str) -> Path:
        return self._root / UNIT_DIRECTORY / "multi-user.target.wants" / name

    def _read(self, name: str) -> Unit:
        file = self._root / UNIT_DIRECTORY / name
        if not file.is_file():
            raise NotFoundError(f"Unit {name} not found.")
        return read_unit(name, file.read_text(encoding="utf-8"))

    def _launch(self, unit: Unit) -> None:
        process = GuardedProcess(
            unit.exec_start,
            env={**self._base_env, **unit.environment},
            output=self._root / "var/log" / f"{unit.name}.log",
        )
        running = Running(unit, process)
        self._running[unit.name] = running
        threading.Thread(target=self._watch, args=(running,), daemon=True).start()

    def _watch(self, running: Running) -> None:
        code = running.process.wait()
        again = running.unit.restart == "always" or (
            running.unit.restart == "on-failure" and code != 0
        )
        if again and running.stopping.wait(running.unit.restart_seconds):
            return
        with self._lock:
            if self._running.get(running.unit.name) is running:
                del self._running[running.unit.name]
                if again:
                    self._launch(running.unit)


def _full(name: str) -> str:
    return name if "." in name else f"{name}.service"
