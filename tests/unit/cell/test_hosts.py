"""What workers of one model server tell each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from saxflow.cell import hosts
from saxflow.errors import InputError, NotFoundError, ProtocolError
from saxflow.sax.names import CellName


@pytest.mark.parametrize(
    ("chip", "topology", "count"),
    [
        ("cpu", "16", 1),
        ("tpuv5e", "1", 1),
        ("tpuv5e", "4", 1),
        ("tpuv5e", "2x4", 1),
        ("tpuv5e", "8", 1),
        ("tpuv5e", "16", 4),
        ("tpuv5e", "4x4", 4),
        ("tpuv5e", "4x8", 8),
        ("tpuv5e", "twisted", 1),
    ],
)
def test_hosts_of_a_slice(chip: str, topology: str, count: int) -> None:
    assert hosts.host_count(chip, topology) == count


def test_a_worker_is_one_of_its_server() -> None:
    assert hosts.Worker(0, 1) == hosts.ALONE
    with pytest.raises(InputError, match="host_ordinal 2 is not one of 2 hosts"):
        hosts.Worker(2, 2)


def test_calls_survive_the_wire() -> None:
    message = hosts.encode("decode", slots=hosts.columns([np.array([1, 2])]), limit=np.int32(3))
    assert hosts.decode(message) == {"call": "decode", "slots": [[1, 2]], "limit": 3}


@pytest.mark.parametrize("data", [b"", b"[]", b"{}"])
def test_what_is_no_call_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        hosts.decode(BytesValue(value=data))


def test_the_leader_is_found_beside_the_admin(tmp_path: Path) -> None:
    cell = CellName("test")
    with pytest.raises(NotFoundError):
        hosts.leader_address(str(tmp_path), cell)
    directory = tmp_path / "sax/test"
    directory.mkdir(parents=True)
    (directory / hosts.LEADER_FILE).write_text(json.dumps({"address": "127.0.0.1:5"}))
    assert hosts.leader_address(str(tmp_path), cell) == "127.0.0.1:5"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"address": 5}', "\xff"])
def test_a_damaged_announcement_is_named(tmp_path: Path, text: str) -> None:
    cell = CellName("test")
    file = tmp_path / "sax/test" / hosts.LEADER_FILE
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ProtocolError, match=f"{hosts.LEADER_FILE} holds"):
        hosts.leader_address(str(tmp_path), cell)
