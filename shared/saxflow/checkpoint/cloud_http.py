"""Bulk HTTP to Cloud Storage's JSON API: ranges into buffers, whole uploads from buffers.

Google's own client costs about three times the CPU per byte and copies; the JSON API is the same.
Every call has a connect and a stall timeout; retries are a loop that is visible here.

Source: cloud.google.com/storage/docs/json_api (objects get, list, insert, multipart upload;
retry strategy: 408, 429, 5xx and broken connections).
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, urlencode

import urllib3
from urllib3.response import BaseHTTPResponse

from saxflow.checkpoint.directory import Buffer
from saxflow.errors import CloudError, ConfigurationError, ProtocolError
from saxflow.gcp.translate import RETRYABLE_CODES
from saxflow.settings import load_endpoints

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0
ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
PIECE_BYTES = 1 << 20
T = TypeVar("T")
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class AttemptError(Exception):
    """An attempt failed in a way that another may cure; carries what to report at the end."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


class StorageHttp:
    """Authorised requests to one storage root; safe to use from several threads.

    Args:
        pause: waits so many seconds between attempts.
    """

    def __init__(self, pause: Callable[[float], None] = time.sleep) -> None:
        local = load_endpoints().storage
        self._root = (local or "https://storage.googleapis.com").rstrip("/")
        self._credentials = None if local else _credentials()
        self._lock = threading.Lock()
        self._pause = pause
        self._pool = urllib3.PoolManager(
            maxsize=32, retries=False, timeout=urllib3.Timeout(CONNECT_SECONDS, STALL_SECONDS)
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def get_json(self, path: str, query: Mapping[str, str], what: str) -> dict[str, Any]:
        """Return a JSON answer.

        Raises:
            CloudError: the service refused, or did not answer after all attempts.
            ProtocolError: somebody else answers in its place.
        """

        def attempt() -> bytes:
            response = self._request("GET", self._url(path, query), {}, None)
            return _checked(response, what).data

        data = self.repeated(attempt, what)
        value: Any = None
        with suppress(ValueError, RecursionError):
            value = json.loads(data)
        if not isinstance(value, dict):
            raise ProtocolError(
                f"{what}: {self._root} answered what is no JSON object; is Cloud Storage there?"
            )
        return cast("dict[str, Any]", value)

    def read_into(
        self, url_path: str, query: Mapping[str, str], start: int, into: memoryview, what: str
    ) -> int:
        """Fill a buffer from a range and return how many bytes there were.

        A broken or stalled answer is continued where it stopped.
        """
        done = 0

        def attempt() -> int:
            nonlocal done
            for piece in self._range(url_path, query, start + done, len(into) - done, what):
                into[done : done + len(piece)] = piece
                done += len(piece)
            return done

        return self.repeated(attempt, what) if len(into) else 0

    def upload(
        self,
        bucket: str,
        metadata: Mapping[str, Any],
        data: Sequence[Buffer],
        what: str,
        *,
        create_only: bool,
    ) -> bool:
        """Create an object whole in one request; return False when it exists already."""
        query = {"uploadType": "multipart"}
        if create_only:
            query["ifGenerationMatch"] = "0"
        url = self._url(f"/upload/storage/v1/b/{quote(bucket, safe='')}/o", query)
        body = _Multipart(metadata, data)

        def attempt() -> bool:
            response = self._request("POST", url, body.headers, iter(body))
            if response.status == 412:
                response.drain_conn()
                return False
            _checked(response, what).drain_conn()
            return True

        return self.repeated(attempt, what)

    def delete(self, path: str, query: Mapping[str, str], what: str) -> None:
        """Delete an object; no error if it is missing or the query's precondition does not hold."""

        def attempt() -> None:
            response = self._request("DELETE", self._url(path, query), {}, None)
            if response.status not in (404, 412):
                _checked(response, what)
            response.drain_conn()

        self.repeated(attempt, what)

    def repeated(self, attempt: Callable[[], T], what: str) -> T:
        """Run an attempt until it succeeds, with growing, jittered pauses."""
        for number in range(ATTEMPTS):
            try:
                return attempt()
            except (AttemptError, urllib3.exceptions.HTTPError) as error:
                if number + 1 == ATTEMPTS:
                    code = error.code if isinstance(error, AttemptError) else None
                    raise CloudError(
                        f"{what}: {error} (after {ATTEMPTS} attempts)",
                        service="storage",
                        code=code,
                        retryable=True,
                    ) from error
                longest = min(FIRST_PAUSE_SECONDS * 2**number, LONGEST_PAUSE_SECONDS)
                self._pause(random.uniform(longest / 2, longest))
        raise AssertionError("unreachable")

    def _range(
        self, path: str, query: Mapping[str, str], start: int, length: int, what: str
    ) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
        url = self._url(path, {**query, "alt": "media"})
        response = self._request("GET", url, headers, None)
        left = length
        try:
            if response.status == 416:
                return
            if response.status == 200 and start > 0:
                raise CloudError(f"{what}: the range was ignored", service="storage", code=200)
            _checked(response, what)
            while left and (piece := response.read(min(PIECE_BYTES, left))):
                left -= len(piece)
                yield piece
        finally:
            response.close() if left else response.release_conn()

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: Iterator[Buffer] | None
    ) -> BaseHTTPResponse:
        return self._pool.request(
            method,
            url,
            headers={**headers, **self._authorization()},
            body=cast("Iterator[bytes] | None", body),
            preload_content=False,
        )

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        return f"{self._root}{path}?{urlencode(query)}" if query else f"{self._root}{path}"

    def _authorization(self) -> dict[str, str]:
        if self._credentials is None:
            return {}
        from google.auth import exceptions
        from google.auth.transport.requests import Request

        with self._lock:
            try:
                if not self._credentials.valid:
                    self._credentials.refresh(Request())
            except exceptions.TransportError as error:
                raise AttemptError(f"no access token: {error}") from error
            except exceptions.RefreshError as error:
                raise ConfigurationError(
                    f"the credentials for Cloud Storage were refused: {error}"
                ) from error
            return {"Authorization": f"Bearer {self._credentials.token}"}


class _Multipart:
    """A multipart/related body of metadata and data, produced without joining buffers."""

    BOUNDARY = b"saxflow-7e1c9c0fd1d54a44"

    def __init__(self, metadata: Mapping[str, str], data: Sequence[Buffer]) -> None:
        self._head = (
            b"--"
            + self.BOUNDARY
            + b"\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            + json.dumps(dict(metadata)).encode()
            + b"\r\n--"
            + self.BOUNDARY
            + f"\r\nContent-Type: {metadata['contentType']}\r\n\r\n".encode()
        )
        self._tail = b"\r\n--" + self.BOUNDARY + b"--\r\n"
        self._data = [memoryview(piece).cast("B") for piece in data]
        size = len(self._head) + sum(map(len, self._data)) + len(self._tail)
        self.headers = {
            "Content-Type": f'multipart/related; boundary="{self.BOUNDARY.decode()}"',
            "Content-Length": str(size),
        }

    def __iter__(self) -> Iterator[Buffer]:
        yield self._head
        for view in self._data:
            for start in range(0, len(view), PIECE_BYTES):
                yield view[start : start + PIECE_BYTES]
        yield self._tail


def _checked(response: BaseHTTPResponse, what: str) -> BaseHTTPResponse:
    """Return a 2xx answer; raise for the rest."""
    if 200 <= response.status < 300:
        return response
    text = response.data.decode("utf-8", "replace")[:300]
    reason = f"{response.status} {text}".strip()
    if response.status in RETRYABLE_CODES:
        raise AttemptError(reason, response.status)
    raise CloudError(f"{what}: {reason}", service="storage", code=response.status)


def _credentials() -> Credentials:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        found, _ = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError as error:
        raise ConfigurationError(
            "no Google credentials; run `gcloud auth application-default login`,"
            ' or for the local cloud `eval "$(saxflow local env)"`'
        ) from error
    return found
