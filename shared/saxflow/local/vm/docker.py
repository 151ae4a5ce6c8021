"""The `docker` command as a VM's scripts use it, turned into calls of the container engine.

Options that mean nothing without a container runtime (`--shm-size`, `--ulimit`, ...) are accepted
and have no effect; options that Docker does not have are refused as Docker refuses them.

Source: https://docs.docker.com/reference/cli/docker/
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from saxflow.errors import BusyError, InputError, NotFoundError
from saxflow.local.vm.commands import Parsed, Reply, UsageError, parse
from saxflow.local.vm.containers import RESTART_POLICIES, Container, Engine, new_id
from saxflow.local.vm.inspection import columns, details, render, row

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_RESTART = re.compile(rf"{'|'.join(RESTART_POLICIES)}|on-failure:[0-9]{{1,9}}")

RUN_FLAGS = {
    "-d",
    "--detach",
    "--rm",
    "--privileged",
    "-i",
    "--interactive",
    "-t",
    "--tty",
    "--init",
}
RUN_VALUES = {
    "--name", "-e", "--env", "--env-file", "-v", "--volume", "--network", "--net", "--restart",
    "--add-host", "--entrypoint", "-w", "--workdir", "-l", "--label", "-u", "--user", "-h",
    "--hostname", "--log-driver", "--log-opt", "--ulimit", "--shm-size", "--pull", "--cpus", "-m",
    "--memory", "--device", "--cap-add", "--security-opt", "--stop-timeout", "--ipc",
}  # fmt: skip


class Docker:
    """The command, over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._commands: dict[str, Callable[[list[str], str], Reply]] = {
            "exec": self._exec,
            "image": self._image,
            "images": self._images,
            "inspect": self._inspect,
            "kill": self._kill,
            "login": self._login,
            "logs": self._logs,
            "ps": self._ps,
            "pull": self._pull,
            "restart": self._restart,
            "rm": self._rm,
            "run": self._run,
            "start": self._start,
            "stop": self._stop,
            "version": self._version,
            "wait": self._wait,
        }

    def __call__(self, argv: list[str], stdin: str) -> Reply:
        """Carry out one command line, without the word `docker`."""
        if not argv or argv[0] not in self._commands:
            return Reply(1, "", f"docker: {' '.join(argv[:1])!r} is not a docker command.\n")
        try:
            return self._commands[argv[0]](argv[1:], stdin)
        except UsageError as error:
            return Reply(125, "", f"{error}\nSee 'docker {argv[0]} --help'.\n")
        except (NotFoundError, BusyError, InputError) as error:
            code = 125 if argv[0] == "run" else 1
            return Reply(code, "", f"Error response from daemon: {error}\n")

    def _run(self, argv: list[str], _stdin: str) -> Reply:
        parsed = parse(argv, RUN_FLAGS, RUN_VALUES)
        if not parsed.rest:
            raise UsageError('"docker run" requires at least 1 argument.')
        container = described(parsed)
        if parsed.has("-d", "--detach"):
            return Reply(0, f"{self._engine.run(container).id}\n")
        return Reply(*self._engine.run_to_end(container))

    def _rm(self, argv: list[str], _stdin: str) -> Reply:
        parsed = parse(argv, {"-f", "--force", "-v", "--volumes"}, set())
        force = parsed.has("-f", "--force")
        return self._each(
            parsed.rest,
            lambda name: self._engine.remove(name, force=force),
            missing_is_fine=force,
        )

    def _stop(self, argv: list[str], _stdin: str) -> Reply:
        parsed = parse(argv, set(), {"-t", "--time", "--timeout"})
        grace = _grace_seconds(parsed)
        return self._each(parsed.rest, lambda name: self._engine.stop(name, grace))

    def _start(self, argv: list[str], _stdin: str) -> Reply:
        return self._each(argv, self._engine.start)

    def _restart(self, argv: list[str], _stdin: str) -> Reply:
        parsed = parse(argv, set(), {"-t", "--time", "--timeout"})
        grace = _grace_seconds(parsed)

        def again(name: str) -> None:
            self._engine.stop(name, grace)
            self._engine.start(name)

        return self._each(parsed.rest, again)

    def _kill(self, argv: list[str], _stdin: str) -> Reply:
        parsed = parse(argv, set(), {"-s", "--signal"})
        return self._each(parsed.rest, self._engine.kill)

    def _wait(self, argv: list[str], _stdin: str) -> Reply:
        return Reply(0, "".join(f"{self._engine.wait(name)}\n" for name in argv))

    def _each(
        self, names: list[str], action: Callable[[str], None], *, missing_is_fine: bool = False
    ) -> Reply:
        done, errors = "", ""
        code = 0
        for name in names:
            try:
                action(name)
                done += f"{name}\n"
            except (NotFoundError, BusyError) as error:
                gone = missing_is_fine and isinstance(error, NotFoundError)
                code = code if gone else 1
                errors += f"Error response from daemon: {error}\n"
        return Reply(code, done, errors)

    def _logs(self, argv: list[str], _stdin: str) -> Reply:
        parsed = parse(argv, {"-t", "--timestamps"}, {"-n", "--tail", "--since"})
        if len(parsed.rest) != 1:
            raise UsageError('"docker logs" requires exactly 1 argument.')
        tail = parsed.last("-n", "--tail", default="all")
        last = 0 if tail == "all" else _whole_number("--tail", tail)
        container = self._engine.find(parsed.rest[0])
        text = self._engine.log(container).read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines(keepends=True)
        return Reply(0, "".join(lines if tail == "all" else lines[-last or len(lines) :]))

    def _ps(self, argv: list[str], _stdin: str) -> Reply:
        flags = {"-a", "--all", "-q", "--quiet", "--no-trunc"}
        parsed = parse(argv, flags, {"-f", "--filter", "--format"})
        chosen = [
            c
            for c in self._engine.list()
            if (c.running or parsed.has("-a", "--all"))
            and all(_passes(c, rule) for rule in parsed.all("-f", "--filter"))
        ]
        if parsed.has("-q", "--quiet"):
            return Reply(0, "".join(f"{c.id[:12]}\n" for c in chosen))
        template = parsed.last("--format")
        if template:
            return Reply(0, "".join(f"{render(template, row(c))}\n" for c in chosen))
        head = "CONTAINER ID   IMAGE   STATUS   NAMES\n"
        return Reply(0, head + "".join("   ".join(columns(c)) + "\n" for c in chosen))

    def _inspect(self, argv: list[str], _stdin: str) -> Reply:
        parsed = parse(argv, set(), {"-f", "--format", "--type"})
        facts = [details(self._engine.find(name)) for name in parsed.rest]
        template = parsed.last("-f", "--format")
        if template:
            return Reply(0, "".join(f"{render(template, fact)}\n" for fact in facts))
        return Reply(0, json.dumps(facts, indent=4) + "\n")

    def _pull(self, argv: list[str], _stdin: str) -> Reply:
        parsed = parse(argv, {"-q", "--quiet"}, {"--platform"})
        if len(parsed.rest) != 1:
            raise UsageError('"docker pull" requires exactly 1 argument.')
        self._engine.pull(parsed.rest[0])
        return Reply(0, f"{parsed.rest[0]}\n")

    def _image(self, argv: list[str], _stdin: str) -> Reply:
        if argv[:1] != ["inspect"]:
            raise UsageError(f"unknown command: docker image {' '.join(argv[:1])}")
        parsed = parse(argv[1:], set(), {"-f", "--format"})
        known = self._engine.images()
        missing = [name for name in parsed.rest if name not in known]
        if missing:
            raise NotFoundError(f"No such image: {missing[0]}")
        return Reply(0, json.dumps([{"Id": n, "RepoTags": [n]} for n in parsed.rest]) + "\n")

    def _images(self, _argv: list[str], _stdin: str) -> Reply:
        return Reply(0, "".join(f"{name}\n" for name in self._engine.images()))

    def _login(self, argv: list[str], stdin: str) -> Reply:
        parsed = parse(argv, {"--password-stdin"}, {"-u", "--username", "-p", "--password"})
        password = stdin.strip() or parsed.last("-p", "--password")
        if not (password and parsed.last("-u", "--username")):
            raise UsageError("username and password are required")
        return Reply(0, "Login Succeeded\n")

    def _exec(self, argv: list[str], stdin: str) -> Reply:
        parsed = parse(argv, {"-i", "-t", "--interactive", "--tty"}, {"-e", "--env"})
        if len(parsed.rest) < 2:
            raise UsageError('"docker exec" requires at least 2 arguments.')
        container = self._engine.find(parsed.rest[0])
        if not container.running:
            raise BusyError(f"container {container.id} is not running")
        env = {**self._engine.environment(container), **_env(parsed)}
        try:
            ended = subprocess.run(
                parsed.rest[1:],
                env=env,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            return Reply(127, "", f"OCI runtime exec failed: {error}\n")
        return Reply(ended.returncode, ended.stdout, ended.stderr)

    def _version(self, _argv: list[str], _stdin: str) -> Reply:
        return Reply(0, "Client:\n Version: saxflow local\n")


def described(parsed: Parsed) -> Container:
    """Return the container that a `docker run` command line describes.

    Raises:
        UsageError: a value that Docker would refuse.
    """
    identity = new_id()
    name = parsed.last("--name") or f"nameless_{identity[:12]}"
    if not NAME.fullmatch(name):
        raise UsageError(f"Invalid container name ({name}), only {NAME.pattern} are allowed")
    restart = parsed.last("--restart", default="no")
    if not _RESTART.fullmatch(restart):
        raise UsageError(
            f"invalid restart policy {restart!r}; use one of {', '.join(RESTART_POLICIES)},"
            " on-failure:COUNT"
        )
    binds = parsed.all("-v", "--volume")
    return Container(
        id=identity,
        name=name,
        image=parsed.rest[0],
        args=parsed.rest[1:],
        entrypoint=next(iter(parsed.all("--entrypoint")), None),
        env=_env(parsed),
        labels=dict(_pair(item) for item in parsed.all("-l", "--label")),
        mounts=dict(_mount(bind) for bind in binds),
        binds=binds,
        extra_hosts=parsed.all("--add-host"),
        network=parsed.last("--network", "--net", default="bridge"),
        privileged=parsed.has("--privileged"),
        restart=restart,
        auto_remove=parsed.has("--rm"),
        workdir=parsed.last("-w", "--workdir"),
    )


def _env(parsed: Parsed) -> dict[str, str]:
    lines = [line for file in parsed.all("--env-file") for line in _env_file(file)]
    given = [line for line in lines if line and not line.startswith("#")]
    return dict(_assignment(item) for item in [*given, *parsed.all("-e", "--env")])


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"invalid environment variable {text!r}; write NAME=VALUE")
    return name, value


def _env_file(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"env file {file}: {error}") from error


def _grace_seconds(parsed: Parsed) -> int:
    return _whole_number("--time", parsed.last("-t", "--time", "--timeout", default="10"))


def _whole_number(option: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(f"invalid argument {text!r} for {option}: it takes a whole number")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _mount(bind: str) -> tuple[str, str]:
    source, _, rest = bind.partition(":")
    target = rest.partition(":")[0]
    if not source.startswith("/") or not target.startswith("/"):
        raise UsageError(f"invalid volume specification: {bind!r}; write /host:/container[:ro]")
    return target, source


def _passes(container: Container, rule: str) -> bool:
    kind, value = _pair(rule)
    if kind == "name":
        return _matches(rule, value, container.name)
    if kind == "status":
        return container.status == value
    if kind == "label":
        name, wanted = _pair(value)
        return container.labels.get(name) == (wanted or container.labels.get(name, ""))
    raise UsageError(f"invalid filter {kind!r}")


def _matches(rule: str, pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error as error:
        raise UsageError(f"invalid filter {rule!r}: {error}") from error
