from __future__ import annotations

import threading

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from saxflow.local.rpc import operations as module
from saxflow.local.rpc.operations import Operations, packed, plain

PARENT = "projects/p/locations/l"


def get(operations: Operations, name: str) -> operations_pb2.Operation:
    return operations.get_operation(operations_pb2.GetOperationRequest(name=name))


def test_done_at_once() -> None:
    operations = Operations()
    operation = operations.done(PARENT, tpu_v2.Node(name="n"), tpu_v2.OperationMetadata())
    assert operation.name.startswith(f"{PARENT}/operations/")
    assert operation.done
    node = tpu_v2.Node.pb()()
    assert operation.response.Unpack(node)
    assert node.name == "n"
    assert operation.HasField("metadata")


def test_begin_finish_and_fail() -> None:
    operations = Operations()
    first, second = operations.begin(PARENT), operations.begin(PARENT)
    assert not get(operations, first.name).done
    operations.finish(first.name)
    operations.fail(second.name, exceptions.Aborted("no"))
    assert get(operations, first.name).response.Is(empty_pb2.Empty.DESCRIPTOR)
    assert get(operations, second.name).error.message == "no"
    listed = operations.list_operations(operations_pb2.ListOperationsRequest(name=PARENT))
    assert [each.name for each in listed.operations] == [first.name, second.name]


def test_wait_returns_when_done() -> None:
    operations = Operations()
    operation = operations.begin(PARENT)
    threading.Timer(0.02, operations.finish, [operation.name]).start()
    request = operations_pb2.WaitOperationRequest(name=operation.name)
    assert operations.wait_operation(request).done


def test_carried_out_with_what_the_action_returns_or_raises() -> None:
    def refuse() -> None:
        raise exceptions.FailedPrecondition("not now")

    operations = Operations()
    for action, result in ((lambda: None, "response"), (refuse, "error")):
        begun = operations.carry_out(PARENT, None, action)
        ended = operations.wait_operation(operations_pb2.WaitOperationRequest(name=begun.name))
        assert ended.WhichOneof("result") == result
    assert ended.error.message == "not now"


def test_cancel_delete_and_absence() -> None:
    operations = Operations()
    name = operations.done(PARENT).name
    operations.cancel_operation(operations_pb2.CancelOperationRequest(name=name))
    operations.delete_operation(operations_pb2.DeleteOperationRequest(name=name))
    with pytest.raises(exceptions.NotFound, match="operation"):
        get(operations, name)


def test_what_is_deleted_under_way_may_still_end() -> None:
    operations = Operations()
    for end in (operations.finish, lambda name: operations.fail(name, exceptions.Aborted("no"))):
        name = operations.begin(PARENT).name
        operations.delete_operation(operations_pb2.DeleteOperationRequest(name=name))
        assert end(name).done
        with pytest.raises(exceptions.NotFound, match=name):
            get(operations, name)


@pytest.mark.timeout(20)
def test_who_waits_for_what_is_deleted_is_told() -> None:
    operations = Operations()
    name = operations.begin(PARENT).name
    delete = operations_pb2.DeleteOperationRequest(name=name)
    threading.Timer(0.02, operations.delete_operation, [delete]).start()
    request = operations_pb2.WaitOperationRequest(name=name)
    request.timeout.FromSeconds(3600)
    with pytest.raises(exceptions.NotFound, match=name):
        operations.wait_operation(request)


def test_plain_and_packed_take_both_kinds() -> None:
    assert plain(tpu_v2.Node(name="n")).name == "n"
    assert plain(empty_pb2.Empty()) == empty_pb2.Empty()
    assert packed(tpu_v2.Node()).type_url.endswith("google.cloud.tpu.v2.Node")


@pytest.mark.timeout(60)
def test_who_waits_when_the_cloud_stops_is_answered() -> None:
    operations = Operations()
    name = operations.begin(PARENT).name
    request = operations_pb2.WaitOperationRequest(name=name)
    waiting = threading.Timer(0.02, operations.close)
    waiting.start()
    assert not operations.wait_operation(request).done
    assert not operations.wait_operation(request).done, "nor does anybody wait later"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seconds", [0, 10**15, -(10**15)])
def test_nobody_waits_without_end(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT_SECONDS", 0.01)
    operations = Operations()
    request = operations_pb2.WaitOperationRequest(name=operations.begin(PARENT).name)
    request.timeout.seconds = seconds
    assert not operations.wait_operation(request).done
