"""What `docker inspect` and `docker ps` show of a container, and their `--format` templates.

Source: https://docs.docker.com/reference/cli/docker/inspect/
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from saxflow.local.vm.commands import UsageError
from saxflow.local.vm.containers import Container

_STATUS = {
    "created": "Created",
    "running": "Up",
    "restarting": "Restarting ({})",
    "exited": "Exited ({})",
}
_TEMPLATE = re.compile(r"\{\{\s*(json\s+)?((?:\.\w+)+|\.)\s*\}\}")


def details(container: Container) -> dict[str, Any]:
    """Return what `docker inspect` shows of a container."""
    facts = asdict(container)
    return {
        "Id": container.id,
        "Name": f"/{container.name}",
        "Created": container.created,
        "Args": facts["args"],
        "RestartCount": container.restart_count,
        "State": {
            "Status": container.status,
            "Running": container.running,
            "Restarting": container.status == "restarting",
            "ExitCode": container.exit_code,
            "StartedAt": container.started,
            "FinishedAt": container.finished,
        },
        "Config": {
            "Image": container.image,
            "Cmd": facts["args"],
            "Env": [f"{name}={value}" for name, value in container.env.items()],
            "Labels": facts["labels"],
        },
        "HostConfig": {
            "Binds": facts["binds"],
            "NetworkMode": container.network,
            "Privileged": container.privileged,
            "ExtraHosts": facts["extra_hosts"],
            "RestartPolicy": {"Name": container.restart.partition(":")[0]},
        },
    }


def row(container: Container) -> dict[str, Any]:
    """Return what `docker ps --format` can show of a container."""
    identity, image, status, name = columns(container)
    return {
        "ID": identity,
        "Image": image,
        "Status": status,
        "Names": name,
        "State": container.status,
    }


def render(template: str, facts: dict[str, Any]) -> str:
    """Fill the part of Go's template language that scripts use: `{{.A.B}}` and `{{json .A}}`.

    Raises:
        UsageError: a field that is not there.
    """

    def fill(match: re.Match[str]) -> str:
        value: Any = facts
        for name in filter(None, match[2].split(".")):
            if not isinstance(value, dict) or name not in value:
                raise UsageError(f"template parsing error: no field {match[2]!r}")
            value = value[name]
        if match[1]:
            return json.dumps(value)
        return str(value).lower() if isinstance(value, bool) else str(value)

    return _TEMPLATE.sub(fill, template)


def columns(container: Container) -> tuple[str, str, str, str]:
    """Return id, image, status and name as `docker ps` shows them."""
    status = _STATUS[container.status].format(container.exit_code)
    return container.id[:12], container.image, status, container.name
