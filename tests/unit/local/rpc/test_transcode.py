from __future__ import annotations

import json
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import batch_v1, tpu_v2
from google.pubsub_v1 import types

from saxflow.local.rpc.transcode import decode_request, encode_response, parse_route

CREATE = {"method": "post", "uri": "/v1/{parent=projects/*/locations/*}/jobs", "body": "job"}
LIST = {"method": "get", "uri": "/v1/{parent=projects/*/locations/*}/jobs"}
CANCEL = {"method": "post", "uri": "/v1/{name=projects/*/jobs/*}:cancel", "body": "*"}
NESTED = {"method": "patch", "uri": "/v2/{node.name=projects/*/nodes/*}", "body": "node"}


def decode(option: dict[str, str], message: Any, path: str, body: Any = None, **query: str) -> Any:
    route = parse_route(option)
    match = route.pattern.fullmatch(path)
    assert match
    data = b"" if body is None else json.dumps(body).encode()
    texts = {name: [value] for name, value in query.items()}
    return decode_request(message, route, match.groups(), texts, data)


def test_path_body_field_and_query() -> None:
    request = decode(
        CREATE, batch_v1.CreateJobRequest, "/v1/projects/p/locations/l/jobs",
        {"priority": "7", "labels": {"a": "b"}}, jobId="j", alt="json",
    )  # fmt: skip
    assert request == batch_v1.CreateJobRequest(
        parent="projects/p/locations/l", job_id="j", job={"priority": 7, "labels": {"a": "b"}}
    )


def test_query_types() -> None:
    path = "/v1/projects/p/locations/l/jobs"
    request = decode(LIST, batch_v1.ListJobsRequest, path, pageSize="5", page_token="t")
    assert (request.page_size, request.page_token) == (5, "t")


def test_nested_path_field_wins_over_the_body() -> None:
    body = {"name": "other", "description": "d"}
    request = decode(NESTED, tpu_v2.UpdateNodeRequest, "/v2/projects/p/nodes/n", body,
                     updateMask="description,tags")  # fmt: skip
    assert request.node.name == "projects/p/nodes/n"
    assert list(request.update_mask.paths) == ["description", "tags"]


def test_booleans_and_repeated_values() -> None:
    pull = {"method": "post", "uri": "/v1/{subscription=projects/*/subscriptions/*}:pull",
            "body": "*"}  # fmt: skip
    route = parse_route(pull)
    names = ("projects/p/subscriptions/s",)
    request = decode_request(types.PullRequest, route, names, {"returnImmediately": ["true"]}, b"")
    assert request.return_immediately
    route = parse_route(pull | {"uri": "/v1/{subscription=projects/*/subscriptions/*}:acknowledge"})
    request = decode_request(types.AcknowledgeRequest, route, names, {"ackIds": ["a", "b"]}, b"")
    assert list(request.ack_ids) == ["a", "b"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"nope": 1}', b'{"priority": "x"}'])
def test_bad_bodies(body: bytes) -> None:
    route = parse_route(CREATE)
    with pytest.raises(exceptions.InvalidArgument, match="Invalid JSON payload"):
        decode_request(batch_v1.CreateJobRequest, route, ("projects/p/locations/l",), {}, body)


def test_unknown_query_parameters() -> None:
    with pytest.raises(exceptions.InvalidArgument, match="nope"):
        decode(LIST, batch_v1.ListJobsRequest, "/v1/projects/p/locations/l/jobs", nope="1")


def test_suffixes_and_segments() -> None:
    assert parse_route(CANCEL).has_verb_suffix
    assert not parse_route(LIST).has_verb_suffix
    pattern = parse_route(LIST).pattern
    assert pattern.fullmatch("/v1/projects/p/locations/l/x/jobs") is None


def test_encoding_of_enums() -> None:
    job = batch_v1.Job(status={"state": "QUEUED"})
    assert json.loads(encode_response(job, integer_enums=False))["status"] == {"state": "QUEUED"}
    assert json.loads(encode_response(job, integer_enums=True))["status"] == {"state": 1}
