from __future__ import annotations

from google.cloud import batch_v1

from saxflow.local.rpc.table import BATCH, EXECUTIONS, PUBLISHER, SUBSCRIBER, TPU, methods_of


def test_batch_methods_with_types_and_routes() -> None:
    methods = {method.name: method for method in methods_of(BATCH)}
    create = methods["create_job"]
    assert create.path == "/google.cloud.batch.v1.BatchService/CreateJob"
    assert create.request is batch_v1.CreateJobRequest
    assert create.routes[0]["uri"] == "/v1/{parent=projects/*/locations/*}/jobs"
    assert not create.streaming


def test_streaming_and_hand_written_routes() -> None:
    assert [m.name for m in methods_of(SUBSCRIBER) if m.streaming] == ["streaming_pull"]
    assert {m.name for m in methods_of(EXECUTIONS)} == {
        "create_execution", "get_execution", "list_executions", "cancel_execution",
    }  # fmt: skip
    assert {"create_queued_resource", "reset_queued_resource"} <= {m.name for m in methods_of(TPU)}
    assert "publish" in {m.name for m in methods_of(PUBLISHER)}
