"""What the services share: long-running operations, and the sockets of this process."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from google.longrunning import operations_pb2

from saxflow.local.rpc.operations import Operations


@pytest.fixture
def sockets() -> Callable[[], set[str]]:
    """Return a function that names the sockets which this process has open."""

    def opened() -> set[str]:
        fds = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
        names = {os.path.realpath(each).rpartition("/")[2] for each in fds}
        return {name for name in names if name.startswith("socket:")}

    return opened


@pytest.fixture
def operations() -> Operations:
    """Return the operations of a cloud of its own."""
    return Operations()


@pytest.fixture
def done(
    operations: Operations,
) -> Callable[[operations_pb2.Operation], operations_pb2.Operation]:
    """Return a function that waits for the end of an operation and returns it."""

    def wait(operation: operations_pb2.Operation) -> operations_pb2.Operation:
        request = operations_pb2.WaitOperationRequest(name=operation.name)
        request.timeout.FromSeconds(60)
        ended = operations.wait_operation(request)
        assert ended.done
        return ended

    return wait
