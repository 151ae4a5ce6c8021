"""Long-running operations of every service, done at once or later.

Source: google/longrunning/operations.proto.
"""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any

import proto
from google.api_core import exceptions
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import Message

from saxflow.local.rpc.status import as_api_error, status_message

LONGEST_WAIT_SECONDS = 60.0

_LOG = logging.getLogger(__name__)


class Operations:
    """The operations of all services of one embedded cloud, and the API to look at them."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._operations: dict[str, operations_pb2.Operation] = {}
        self._numbers = itertools.count(1)
        self._closed = False

    def begin(self, parent: str, metadata: Any = None) -> operations_pb2.Operation:
        """Return a new operation that is under way.

        Args:
            parent: `projects/P/locations/L`.
            metadata: message (proto-plus or plain) that its readers see.
        """
        name = f"{parent}/operations/operation-{next(self._numbers)}-{uuid.uuid4().hex[:12]}"
        operation = operations_pb2.Operation(name=name)
        if metadata is not None:
            operation.metadata.CopyFrom(packed(metadata))
        with self._lock:
            self._operations[name] = operation
            return _copy(operation)

    def finish(self, name: str, response: Any = None) -> operations_pb2.Operation:
        """End an operation with its response; None is Empty."""
        with self._lock:
            operation = self._ending(name)
            answer = empty_pb2.Empty() if response is None else response
            operation.response.CopyFrom(packed(answer))
            self._lock.notify_all()
            return _copy(operation)

    def fail(self, name: str, error: BaseException) -> operations_pb2.Operation:
        """End an operation with an error."""
        with self._lock:
            operation = self._ending(name)
            operation.error.CopyFrom(status_message(as_api_error(error)))
            self._lock.notify_all()
            return _copy(operation)

    def done(
        self, parent: str, response: Any = None, metadata: Any = None
    ) -> operations_pb2.Operation:
        """Return an operation that has already ended with this response."""
        return self.finish(self.begin(parent, metadata).name, response)

    def carry_out(
        self, parent: str, metadata: Any, action: Callable[[], Any]
    ) -> operations_pb2.Operation:
        """Return a new operation; a thread ends it with what the action returns or raises."""
        operation = self.begin(parent, metadata)

        def work() -> None:
            try:
                self.finish(operation.name, action())
            except Exception as error:  # noqa: BLE001  # outermost loop of a worker
                _LOG.exception("%s failed", operation.name)
                self.fail(operation.name, error)

        threading.Thread(target=work, name=operation.name, daemon=True).start()
        return operation

    def get_operation(
        self, request: operations_pb2.GetOperationRequest
    ) -> operations_pb2.Operation:
        """Serve GetOperation.

        Raises:
            NotFound: no such operation.
        """
        with self._lock:
            return _copy(self._known(request.name))

    def list_operations(
        self, request: operations_pb2.ListOperationsRequest
    ) -> operations_pb2.ListOperationsResponse:
        """Serve ListOperations, in one page."""
        prefix = f"{request.name}/operations/"
        with self._lock:
            found = [each for name, each in self._operations.items() if name.startswith(prefix)]
            return operations_pb2.ListOperationsResponse(operations=found)

    def wait_operation(
        self, request: operations_pb2.WaitOperationRequest
    ) -> operations_pb2.Operation:
        """Serve WaitOperation; what is returned may still be under way.

        Raises:
            NotFound: no such operation.
        """
        asked = request.timeout.seconds + request.timeout.nanos / 1e9
        seconds = min(asked or LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
        with self._lock:
            self._lock.wait_for(lambda: self._known(request.name).done or self._closed, seconds)
            return _copy(self._known(request.name))

    def close(self) -> None:
        """Answer everybody who waits."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def cancel_operation(self, request: operations_pb2.CancelOperationRequest) -> empty_pb2.Empty:
        """Serve CancelOperation: best effort, which here is none.

        Raises:
            NotFound: no such operation.
        """
        with self._lock:
            self._known(request.name)
        return empty_pb2.Empty()

    def delete_operation(self, request: operations_pb2.DeleteOperationRequest) -> empty_pb2.Empty:
        """Serve DeleteOperation.

        Raises:
            NotFound: no such operation.
        """
        with self._lock:
            del self._operations[self._known(request.name).name]
            self._lock.notify_all()
        return empty_pb2.Empty()

    def _ending(self, name: str) -> operations_pb2.Operation:
        """Return an operation as done; one that was deleted ends without anybody to see it."""
        operation = self._operations.get(name) or operations_pb2.Operation(name=name)
        operation.done = True
        return operation

    def _known(self, name: str) -> operations_pb2.Operation:
        operation = self._operations.get(name)
        if operation is None:
            raise exceptions.NotFound(f"operation {name} does not exist")
        return operation


def packed(message: Any) -> any_pb2.Any:
    """Return a message, proto-plus or plain, as google.protobuf.Any."""
    wrapper = any_pb2.Any()
    wrapper.Pack(plain(message))
    return wrapper


def plain(message: Any) -> Message:
    """Return the protobuf message behind a proto-plus one, or the message itself."""
    return type(message).pb(message) if isinstance(message, proto.Message) else message


def _copy(operation: operations_pb2.Operation) -> operations_pb2.Operation:
    copy = operations_pb2.Operation()
    copy.CopyFrom(operation)
    return copy
