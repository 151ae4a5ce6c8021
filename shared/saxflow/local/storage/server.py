"""The storage server: routes to operations, faults around them, errors in Google's words."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from google.api_core import exceptions

from saxflow.local.clock import Clock
from saxflow.local.faults import Fault, Faults
from saxflow.local.http import Dropped, HttpServer, Request, Response
from saxflow.local.storage.json_api import JsonApi, error_json
from saxflow.local.storage.media import Call
from saxflow.local.storage.notifications import Notifications, Publish
from saxflow.local.storage.store import Listener, Store
from saxflow.local.storage.uploads import Multiparts, Resumables
from saxflow.local.storage.xml_api import XmlApi, error_xml

Operation = Callable[[Call], Response]

_LOG = logging.getLogger(__name__)
_MEDIA_METHODS = frozenset({"objects.get", "objects.insert"})
_NAME_IN_BODY = re.compile(rb'"name"\s*:\s*("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True)
class Route:
    """One operation: `fault` is the name by which faults are armed."""

    verbs: frozenset[str]
    pattern: re.Pattern[str]
    fault: str
    operation: Operation
    xml: bool = False


class StorageServer:
    """Cloud Storage on one loopback port.

    Args:
        directory: where buckets are kept.
        publish: sends a bucket's notifications to Pub/Sub.
        port: 0 picks a free one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        faults: Faults,
        publish: Publish,
        project: str = "local",
        port: int = 0,
    ) -> None:
        self.store = Store(directory, clock)
        self._faults = faults
        self._stopping = threading.Event()
        self._resumables = Resumables(self.store)
        notifications = Notifications(publish, lambda: self.url, clock)
        self.store.listen(notifications.on_event)
        json_api = JsonApi(self.store, self._resumables, notifications, project)
        self._routes = _routes(json_api, XmlApi(self.store, Multiparts(self.store)))
        self._http = HttpServer(self._handle, port=port)

    @property
    def url(self) -> str:
        """`STORAGE_EMULATOR_HOST` for its clients."""
        return self._http.url

    def listen(self, listener: Listener) -> None:
        """Call back after every change of an object; the listener must not block."""
        self.store.listen(listener)

    def start(self) -> None:
        """Begin to answer."""
        self._http.start()

    def stop(self) -> None:
        """Close the port and every file."""
        self._stopping.set()
        self._http.stop()
        self._resumables.close()
        self.store.close()

    def _handle(self, request: Request) -> Response:
        for route in self._routes:
            match = route.pattern.fullmatch(request.path)
            if match and request.method in route.verbs:
                return self._named(route, request, match.groups())
        return _error(
            exceptions.NotFound(f"{request.method} {request.path}: no such operation"), xml=False
        )

    def _named(self, route: Route, request: Request, groups: tuple[str, ...]) -> Response:
        try:
            names = tuple(unquote(group, errors="strict") for group in groups)
        except UnicodeDecodeError as error:
            words = f"{request.method} {request.path}: the name is not UTF-8: {error}"
            return _error(exceptions.InvalidArgument(words), xml=route.xml)
        return self._run(route, request, names)

    def _run(self, route: Route, request: Request, names: tuple[str, ...]) -> Response:
        operation, fault_name = route.operation, route.fault
        resumable = request.method == "POST" and request.first("uploadType") == "resumable"
        if resumable and fault_name == "objects.insert":
            fault_name = "uploads.start"
        fault = self._faults.take("storage", fault_name, lambda: self._subject(request, names))
        root = f"http://{request.headers.get('Host') or self.url.removeprefix('http://')}"
        try:
            self._before(fault, fault_name)
            response = operation(Call(request, names, root, fault, self._stopping))
        except exceptions.GoogleAPICallError as error:
            return _error(error, xml=route.xml)
        except OSError as error:
            _LOG.exception("%s %s: the disk failed", request.method, request.path)
            return _error(exceptions.ServiceUnavailable(f"disk: {error.strerror}"), xml=route.xml)
        if fault is not None and fault.kind == "lost":
            response.release()
            raise Dropped
        return response

    def _subject(self, request: Request, names: tuple[str, ...]) -> str:
        if len(names) != 1:
            return "/".join(names)
        name = request.first("name") or request.first("prefix")
        name = name or self._resumables.name_of(request.first("upload_id"))
        return f"{names[0]}/{name or _name_in(request.body.peek())}"

    def _before(self, fault: Fault | None, name: str) -> None:
        if fault is None or fault.kind == "lost":
            return
        media = name in _MEDIA_METHODS
        if media and (fault.after_bytes is not None or fault.kind.endswith(("stream", "data"))):
            return
        if fault.kind == "return":
            raise exceptions.from_http_status(fault.status, f"scripted fault {fault.action}")
        if fault.kind == "stall":
            self._stopping.wait(fault.stall_seconds)
        raise Dropped(reset=fault.kind == "reset-connection")


def _name_in(body: bytes) -> str:
    """Return the object's name that the beginning of an upload tells, empty when it tells none."""
    found = _NAME_IN_BODY.search(body)
    try:
        return json.loads(found[1]) if found else ""
    except ValueError:
        return ""


def _error(error: exceptions.GoogleAPICallError, *, xml: bool) -> Response:
    if error.code == 304:
        return Response(304)
    return error_xml(error) if xml else error_json(error)


def _routes(json_api: JsonApi, xml_api: XmlApi) -> list[Route]:
    bucket, item = "/storage/v1/b/([^/]+)", "/storage/v1/b/([^/]+)/o/([^/]+)"
    table: list[tuple[str, str, str, Operation]] = [
        ("POST", "/storage/v1/b", "buckets.insert", json_api.insert_bucket),
        ("GET", "/storage/v1/b", "buckets.list", json_api.list_buckets),
        ("GET", bucket, "buckets.get", json_api.get_bucket),
        ("PATCH PUT", bucket, "buckets.patch", json_api.patch_bucket),
        ("DELETE", bucket, "buckets.delete", json_api.delete_bucket),
        ("GET", f"{bucket}/storageLayout", "buckets.get", json_api.storage_layout),
        ("GET", f"{bucket}/iam/testPermissions", "buckets.get", json_api.test_permissions),
        ("POST", f"{bucket}/notificationConfigs", "notifications.insert", json_api.insert_notification),
        ("GET", f"{bucket}/notificationConfigs", "notifications.list", json_api.list_notifications),
        ("GET", f"{bucket}/notificationConfigs/([^/]+)", "notifications.get", json_api.get_notification),
        ("DELETE", f"{bucket}/notificationConfigs/([^/]+)", "notifications.delete", json_api.delete_notification),
        ("GET", f"{bucket}/o", "objects.list", json_api.list_objects),
        ("GET", f"(?:/download)?{item}", "objects.get", json_api.get_object),
        ("PATCH", item, "objects.patch", json_api.patch_object),
        ("PUT", item, "objects.update", json_api.update_object),
        ("DELETE", item, "objects.delete", json_api.delete_object),
        ("POST", f"{item}/compose", "objects.compose", json_api.compose_object),
        ("POST", f"{item}/copyTo/b/([^/]+)/o/([^/]+)", "objects.copy", json_api.copy_object),
        ("POST", f"{item}/rewriteTo/b/([^/]+)/o/([^/]+)", "objects.rewrite", json_api.rewrite_object),
        ("POST PUT DELETE", f"(?:/resumable)?/upload{bucket}/o", "objects.insert", _upload(json_api)),
        ("GET", "/storage/v1/projects/([^/]+)/serviceAccount", "buckets.list", json_api.service_account),
    ]  # fmt: skip
    xml: list[tuple[str, str, str, Operation]] = [
        ("GET", "/([^/]+)/?", "objects.list", xml_api.list_objects),
        ("GET HEAD", "/([^/]+)/(.+)", "objects.get", xml_api.get_object),
        ("PUT", "/([^/]+)/(.+)", "objects.insert", xml_api.put_object),
        ("POST", "/([^/]+)/(.+)", "objects.insert", xml_api.post_object),
        ("DELETE", "/([^/]+)/(.+)", "objects.delete", xml_api.delete_object),
    ]
    reserved = "(?!/(?:storage|upload|download|resumable|batch)/)"
    json_routes = [_route(*row) for row in table]
    return json_routes + [_route(v, reserved + p, f, o, xml=True) for v, p, f, o in xml]


def _upload(json_api: JsonApi) -> Operation:
    by_verb: dict[str, Any] = {"PUT": json_api.continue_upload, "DELETE": json_api.cancel_upload}

    def upload(call: Call) -> Response:
        if call.request.method in by_verb:
            return by_verb[call.request.method](call)
        if call.first("uploadType") == "resumable":
            return json_api.start_upload(call)
        return json_api.insert_object(call)

    return upload


def _route(
    verbs: str, pattern: str, fault: str, operation: Operation, *, xml: bool = False
) -> Route:
    return Route(frozenset(verbs.split()), re.compile(pattern), fault, operation, xml)
