"""The message table against the recorded bytes of the real system, and against its own stub."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from saxflow.sax import messages as m
from saxflow.sax import methods

ROOT = Path(__file__).parents[3]
RECORDS = json.loads((ROOT / "tests/data/golden/wire.json").read_text())
BY_PATH = {method.path: method for method in methods.ALL}
FILES = {"config.proto": m.Config, "location.proto": m.Location, "state.proto": m.State}


def recorded() -> list[Any]:
    """Every recorded message as (class, hex)."""
    cases: list[Any] = []
    for index, record in enumerate(RECORDS):
        if record["dir"] == "file":
            name = Path(record["path"]).name
            cases.append(pytest.param(FILES[name], record["hex"], id=f"{index}-{name}"))
            continue
        method = BY_PATH[record["method"]]
        request = record.get("request_hex", record.get("hex"))
        cases.append(pytest.param(method.request, request, id=f"{index}-{method.name}"))
        if "response_hex" in record:
            cases.append(
                pytest.param(
                    method.reply, record["response_hex"], id=f"{index}-{method.name}-reply"
                )
            )
    return cases


@pytest.mark.parametrize(("kind", "text"), recorded())
def test_recorded_bytes_survive_a_round_trip(kind: type[Any], text: str) -> None:
    data = bytes.fromhex(text)
    message = kind.FromString(data)
    again = message.SerializeToString()
    assert kind.FromString(again) == message
    assert sorted(again) == sorted(data), "the same bytes, map entries in any order"
    assert not _unknown(message), "every recorded field has a name"


def _unknown(message: Any) -> bool:
    from google.protobuf.unknown_fields import UnknownFieldSet

    return len(UnknownFieldSet(message)) > 0


LLAMA = {
    "model_id": "/sax/test/llama",
    "model_path": "saxml.server.pax.lm.params.lm_cloud.LLaMA7BFP16",
    "checkpoint_path": "gs://b/checkpoint_00000000",
    "requested_num_replicas": 1,
    "overrides": {"BATCH_SIZE": "4"},
}
ADDRESS = "10.77.0.1:14041"

BUILT = {
    0: m.PublishRequest(model=m.Model(**LLAMA)),
    3: m.JoinRequest(
        address=ADDRESS,
        debug_address="10.77.0.1:14042",
        model_server=m.ModelServer(
            chip_type=m.ModelServer.CHIP_TYPE_CPU,
            chip_topology=m.ModelServer.CHIP_TOPOLOGY_1,
            servable_model_paths=[LLAMA["model_path"]],
        ),
    ),
    4: m.WatchLocRequest(model_id="/sax/test/llama"),
    5: m.LoadRequest(
        model_key="/sax/test/llama",
        model_path=LLAMA["model_path"],
        checkpoint_path=LLAMA["checkpoint_path"],
        acls=m.AccessControlLists(),
        overrides=LLAMA["overrides"],
    ),
    6: m.WaitForReadyRequest(model_id="/sax/test/llama", num_replicas=1),
    8: m.ListRequest(model_id="/sax/test/llama"),
    11: m.UpdateRequest(
        model=m.Model(
            model_id="/sax/test/llama",
            model_path=LLAMA["model_path"],
            checkpoint_path="gs://b/other",
            requested_num_replicas=1,
        )
    ),
    13: m.GenerateRequest(model_key="/sax/test/llama", text="Hi", extra_inputs=m.ExtraInputs()),
}


@pytest.mark.parametrize("index", BUILT)
def test_built_requests_equal_what_the_real_tools_send(index: int) -> None:
    record = RECORDS[index]
    assert BUILT[index].SerializeToString().hex() == record.get("request_hex", record.get("hex"))


def test_recorded_replies_read_as_the_real_values() -> None:
    watch = m.WatchLocResponse.FromString(bytes.fromhex(RECORDS[4]["response_hex"]))
    assert watch.result.next_seqno == 1
    assert watch.result.changelog[0].WhichOneof("kind") == "addition"
    assert watch.result.changelog[0].addition == ADDRESS
    listed = m.ListResponse.FromString(bytes.fromhex(RECORDS[8]["response_hex"]))
    assert listed.published_models[0].modelet_addresses == [ADDRESS]
    stats = m.StatsResponse.FromString(bytes.fromhex(RECORDS[10]["response_hex"]))
    assert stats.model_server_type_stats[0].num_replicas == 1
    state = m.State.FromString(bytes.fromhex(RECORDS[-1]["hex"]))
    assert len(state.models[0].uuid) == 16
    generate = m.GenerateRequest.FromString(bytes.fromhex(RECORDS[12]["hex"]))
    assert generate.text == "Hi é"
    assert dict(generate.extra_inputs.items) == {
        "temperature": 0.25,
        "per_example_max_decode_steps": 7.0,
    }


def test_stub_and_table_agree() -> None:
    tree = ast.parse((ROOT / "shared/saxflow/sax/messages.pyi").read_text())
    stubbed = dict(_stubbed(tree.body, ""))
    for package in (m.SAX, m.LM):
        for name, fields in package.messages.items():
            enums = {
                enum.rpartition(".")[2]: values
                for enum, values in package.enums.items()
                if enum.rpartition(".")[0] == name
            }
            values = {value for enum in enums.values() for value in enum}
            assert stubbed.pop(name) == set(fields) | set(enums) | values
    assert not stubbed


def _stubbed(body: list[ast.stmt], outer: str) -> list[tuple[str, set[str]]]:
    found: list[tuple[str, set[str]]] = []
    for node in body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        name = f"{outer}{node.name}"
        fields = {
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        properties = {
            item.name
            for item in node.body
            if isinstance(item, ast.FunctionDef) and not item.name.startswith("__")
        }
        found += [(name, fields | properties), *_stubbed(node.body, f"{name}.")]
    return found


def test_messages_live_beside_the_generated_ones() -> None:
    from google.protobuf import descriptor_pb2, descriptor_pool

    proto = descriptor_pb2.FileDescriptorProto(name="theirs.proto", package="sax", syntax="proto3")
    proto.message_type.add(name="Model")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(proto.SerializeToString())
    assert pool.FindMessageTypeByName("sax.Model") is not m.Model.DESCRIPTOR
