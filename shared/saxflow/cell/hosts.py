"""How several workers form one multi-host model server: who they are and what they tell each other.

Worker 0 leads: it alone joins the cell and takes requests. Every other worker follows: it receives
each call on the model in order and makes it too, so that all processes run the same programs on one
mesh of devices, as SAX's primary and secondary hosts do. No sockets here.

Source: google/saxml v1.1.0 `server/model_service_base.py` (secondary worker loop); Cloud TPU:
v5litepod slices of more than 8 chips have 4 chips per host.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.wrappers_pb2 import BytesValue

from saxflow.errors import InputError, NotFoundError, ProtocolError
from saxflow.sax.methods import Method
from saxflow.sax.names import CellName
from saxflow.sax.roots import open_files

LEADER_FILE = "saxflow-leader.json"
"""Beside location.proto: where followers find worker 0."""
FOLLOW = Method("saxflow.Hosts", "Follow", BytesValue, BytesValue, streams=True)
REPORT = Method("saxflow.Hosts", "Report", BytesValue, BytesValue)
_SINGLE_HOST_CHIPS, _CHIPS_PER_HOST = 8, 4


@dataclass(frozen=True)
class Worker:
    """One process of a model server; `ordinal` 0 leads."""

    ordinal: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.ordinal < self.count:
            raise InputError(f"host_ordinal {self.ordinal} is not one of {self.count} hosts")


ALONE = Worker(0, 1)


def host_count(chip: str, topology: str) -> int:
    """Return how many hosts a slice has, for example 4 for `tpuv5e` and `16` or `4x4`."""
    if not chip.lower().startswith("tpu"):
        return 1
    numbers = re.findall(r"\d+", topology)
    chips = math.prod(map(int, numbers)) if numbers else 1
    return 1 if chips <= _SINGLE_HOST_CHIPS else chips // _CHIPS_PER_HOST


def encode(call: str, **arguments: Any) -> BytesValue:
    """Return one message: a call and what goes with it, arrays as lists."""
    return BytesValue(value=json.dumps({"call": call, **arguments}, default=_plain).encode())


def decode(message: BytesValue) -> dict[str, Any]:
    """Read what `encode` wrote.

    Raises:
        ProtocolError: it is something else.
    """
    try:
        value = json.loads(message.value)
    except ValueError as error:
        raise ProtocolError(f"a worker sent {message.value[:40]!r}, which is no call") from error
    if not isinstance(value, dict) or "call" not in value:
        raise ProtocolError(f"a worker sent {message.value[:40]!r}, which is no call")
    return value


def leader_address(sax_root: str, cell: CellName) -> str:
    """Return where worker 0 announced itself last.

    Raises:
        NotFoundError: it has not done so yet.
        ProtocolError: what it wrote, or is writing, is no announcement.
    """
    data = open_files(sax_root).read(f"sax/{cell.cell}/{LEADER_FILE}")
    if data is None:
        raise NotFoundError(f"worker 0 of {cell} has not announced itself yet")
    try:
        address: Any = json.loads(data)["address"]
    except (ValueError, KeyError, TypeError):
        address = None
    if not isinstance(address, str):
        raise ProtocolError(f"{sax_root}/sax/{cell.cell}/{LEADER_FILE} holds {data[:40]!r}")
    return address


def columns(arrays: Sequence[Any]) -> list[list[float]]:
    """Return arrays as lists, for a message."""
    return [np.asarray(array).tolist() for array in arrays]


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()
