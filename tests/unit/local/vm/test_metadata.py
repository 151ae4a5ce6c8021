"""The metadata server, asked over HTTP."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from saxflow.local.http import HttpServer
from saxflow.local.vm.metadata import MetadataTree, tpu_env, tpu_leaves

LEAVES = tpu_leaves(
    project="p",
    zone="us-central1-a",
    node="sf-a",
    worker=1,
    addresses=["127.0.1.10", "127.0.1.11"],
    accelerator_type="v5litepod-16",
    service_account="tpu@p",
    attributes={"startup-script": "true", "saxflow-config": "{}"},
    instance_id="1234567890",
)


@pytest.fixture
def ask(tmp_path):
    server = HttpServer(MetadataTree(LEAVES, tmp_path).handle)
    server.start()

    def call(path, method="GET", data=None, flavor="Google"):
        headers = {"Metadata-Flavor": flavor} if flavor else {}
        request = Request(server.url + path, data=data, headers=headers, method=method)
        try:
            with urlopen(request, timeout=60) as reply:
                assert reply.headers["Metadata-Flavor"] == "Google"
                return reply.status, reply.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    yield call
    server.stop()


V1 = "/computeMetadata/v1/"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("instance/attributes/agent-worker-number", "1"),
        ("instance/attributes/accelerator-type", "v5litepod-16"),
        ("instance/attributes/worker-network-endpoints",
         "unknown:0:127.0.1.10,unknown:1:127.0.1.11"),
        ("instance/attributes/saxflow-config", "{}"),
        ("instance/network-interfaces/0/ip", "127.0.1.11"),
        ("instance/id", "1234567890"),
        ("project/project-id", "p"),
    ],
)  # fmt: skip
def test_leaves(ask, path, value):
    assert ask(V1 + path) == (200, value)


def test_header_is_required(ask):
    assert ask(V1 + "instance/id", flavor="")[0] == 403
    assert ask("/", flavor="")[0] == 200


def test_token_is_json(ask):
    token = json.loads(ask(V1 + "instance/service-accounts/default/token")[1])
    assert set(token) == {"access_token", "expires_in", "token_type"}


def test_directories_are_listed_or_told_as_json(ask):
    assert "service-accounts/" in ask(V1 + "instance/")[1].split()
    whole = json.loads(ask(V1 + "?recursive=true")[1])
    assert whole["project"]["projectId"] == "p"
    assert whole["instance"]["attributes"]["agent-worker-number"] == "1"  # keys of users stay
    part = json.loads(ask(V1 + "instance/attributes/?recursive=true")[1])
    assert part == whole["instance"]["attributes"]


def test_missing_and_foreign_paths_are_404(ask):
    assert ask(V1 + "instance/attributes/none")[0] == 404
    assert ask("/computeMetadata/v0/instance/id")[0] == 404


def test_guest_attributes_are_written_read_and_deleted(ask):
    path = V1 + "instance/guest-attributes/sax/state"
    assert ask(path)[0] == 404
    assert ask(path, "PUT", b"ready")[0] == 200
    assert ask(path) == (200, "ready")
    assert ask(path, "DELETE")[0] == 200
    assert ask(path)[0] == 404


@pytest.mark.parametrize("path", ["sax", "../state", "a/b/c", "a/..", "a/%2e%2e", "./a", "a/."])
def test_guest_attributes_stay_in_their_place(ask, path):
    assert ask(V1 + "instance/guest-attributes/" + path, "PUT", b"x")[0] == 400


def test_guest_attribute_has_a_size(ask):
    path = V1 + "instance/guest-attributes/sax/state"
    assert ask(path, "PUT", b"x" * 262_145)[0] == 400


def test_guest_attribute_is_text(ask):
    path = V1 + "instance/guest-attributes/sax/state"
    assert ask(path, "PUT", b"\xff")[0] == 400
    assert ask(path)[0] == 404


def test_guest_attribute_may_be_deleted_by_two_at_once(ask):
    path = V1 + "instance/guest-attributes/sax/state"
    for _ in range(20):
        ask(path, "PUT", b"x")
        with ThreadPoolExecutor(4) as pool:
            codes = [code for code, _ in pool.map(lambda _: ask(path, "DELETE"), range(4))]
        assert sorted(codes) == [200, 404, 404, 404]


def test_only_guest_attributes_can_be_written(ask):
    assert ask(V1 + "instance/id", "PUT", b"x")[0] == 405
    assert ask(V1 + "instance/guest-attributes/sax/state", "POST", b"x")[0] == 405


def test_tpu_env_is_one_quoted_value_a_line():
    text = tpu_env("p", "us-central1-a", "sf-a", 3, "v5litepod-16")
    assert "WORKER_ID: '3'\n" in text
