"""The metadata server that a VM sees at `$GCE_METADATA_HOST`.

A tree of texts below `/computeMetadata/v1/`: leaves are served as they are, directories as a
listing or, with `recursive=true`, as JSON. Guest attributes can be written from inside.

Source: https://cloud.google.com/compute/docs/metadata/overview; facts on TPU VMs' keys:
agent-worker-number, worker-network-endpoints, accelerator-type, tpu-env.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from saxflow.local.http import Request, Response, json_response
from saxflow.local.replacing import replace_file

PREFIX = "/computeMetadata/v1/"
GUEST_ATTRIBUTES = "instance/guest-attributes/"
FLAVOR = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
_ATTRIBUTES = "instance/attributes/"
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_LARGEST_VALUE_BYTES = 256 * 1024


class MetadataTree:
    """Answers of the metadata server.

    Args:
        leaves: path below `/computeMetadata/v1/` -> text.
        guest_attributes: directory that holds `<namespace>/<key>` files, shared with the service.
    """

    def __init__(self, leaves: Mapping[str, str], guest_attributes: Path) -> None:
        self._leaves = dict(leaves)
        self._guest = guest_attributes

    def handle(self, request: Request) -> Response:
        """Answer one request as the real server does."""
        if request.path == "/":
            return _text(200, "computeMetadata/\n")
        if request.headers.get("Metadata-Flavor") != "Google":
            return _text(403, "Missing required header: Metadata-Flavor: Google\n")
        if not request.path.startswith(PREFIX):
            return _text(404, f"{request.path} not found\n")
        path = unquote(request.path.removeprefix(PREFIX))
        if path.startswith(GUEST_ATTRIBUTES):
            return self._guest_attribute(request, path.removeprefix(GUEST_ATTRIBUTES))
        if request.method != "GET":
            return _text(405, f"{request.method} is not allowed here\n")
        return self._read(path, recursive=request.first("recursive") == "true")

    def _read(self, path: str, *, recursive: bool) -> Response:
        if path in self._leaves and not path.endswith("/"):
            return _leaf(path, self._leaves[path])
        prefix = path if path.endswith("/") or not path else f"{path}/"
        below = {k.removeprefix(prefix): v for k, v in self._leaves.items() if k.startswith(prefix)}
        if not below:
            return _text(404, f"{path} not found\n")
        if recursive:
            return json_response(200, _nested(below, prefix), FLAVOR)
        names = {k.partition("/")[0] + ("/" if "/" in k else "") for k in below}
        return _text(200, "".join(f"{name}\n" for name in sorted(names)))

    def _guest_attribute(self, request: Request, path: str) -> Response:
        namespace, _, key = path.partition("/")
        if not (_KEY.fullmatch(namespace) and _KEY.fullmatch(key)):
            return _text(400, f"guest attribute {path!r} must be namespace/key\n")
        file = self._guest / namespace / key
        try:
            match request.method:
                case "PUT":
                    return _store(file, request.body.read())
                case "DELETE":
                    file.unlink()
                    return _text(200, "")
                case "GET" | "HEAD":
                    return _text(200, file.read_text(encoding="utf-8"))
                case method:
                    return _text(405, f"{method} is not allowed here\n")
        except FileNotFoundError:
            return _text(404, f"{path} not found\n")


def tpu_leaves(
    *,
    project: str,
    zone: str,
    node: str,
    worker: int,
    addresses: list[str],
    accelerator_type: str,
    service_account: str,
    attributes: Mapping[str, str],
    instance_id: str,
) -> dict[str, str]:
    """Return what the metadata server of one worker of a TPU node tells.

    Args:
        addresses: of all workers, in their order.
        attributes: the node's own metadata.
    """
    token = {"access_token": f"ya29.local-{node}", "expires_in": 3599, "token_type": "Bearer"}
    accounts = "instance/service-accounts"
    hostname = f"t1v-n-{instance_id[:8]}-w-{worker}"
    own = {f"instance/attributes/{key}": value for key, value in attributes.items()}
    endpoints = ",".join(f"unknown:{i}:{address}" for i, address in enumerate(addresses))
    leaves = {
        "instance/attributes/agent-worker-number": str(worker),
        "instance/attributes/worker-network-endpoints": endpoints,
        "instance/attributes/accelerator-type": accelerator_type,
        "instance/attributes/instance-id": node,
        "instance/attributes/tpu-env": tpu_env(project, zone, node, worker, accelerator_type),
        "instance/id": instance_id,
        "instance/name": hostname,
        "instance/hostname": f"{hostname}.{zone}.c.{project}.internal",
        "instance/zone": f"projects/{project}/zones/{zone}",
        "instance/network-interfaces/0/ip": addresses[worker],
        "project/project-id": project,
        "project/numeric-project-id": "1",
        f"{accounts}/default/email": service_account,
        f"{accounts}/default/scopes": "https://www.googleapis.com/auth/cloud-platform\n",
        f"{accounts}/default/token": json.dumps(token),
    }
    return {**own, **leaves}


def tpu_env(project: str, zone: str, node: str, worker: int, accelerator_type: str) -> str:
    """Return the YAML-like text that the TPU runtime reads."""
    fields = {
        "ACCELERATOR_TYPE": accelerator_type,
        "CONSUMER_PROJECT_ID": project,
        "NODE_ID": node,
        "WORKER_ID": str(worker),
        "ZONE": zone,
    }
    return "".join(f"{key}: '{value}'\n" for key, value in fields.items())


def _store(file: Path, data: bytes) -> Response:
    if len(data) > _LARGEST_VALUE_BYTES:
        return _text(400, f"guest attribute has {len(data)} bytes; it may have 256 KiB\n")
    if not _is_text(data):
        return _text(400, "guest attribute is no UTF-8 text\n")
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, data)
    return _text(200, "")


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _nested(leaves: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Return leaves below a prefix as JSON has them: in camel case, but for keys of users."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        verbatim = f"{prefix}{path}".startswith(_ATTRIBUTES)
        *parents, name = path.split("/") if verbatim else map(_camel, path.split("/"))
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return tree


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def _leaf(path: str, text: str) -> Response:
    if path.endswith("/token"):
        return json_response(200, json.loads(text), FLAVOR)
    return _text(200, text)


def _text(status: int, text: str) -> Response:
    return Response(status, {"Content-Type": "application/text", **FLAVOR}, text.encode())
