"""Llama weights of real shapes, generated: random values, or sparse files for plans alone.

The archives are written here rather than by torch.save, because a sparse 140 GB file must exist
without its bytes, and because generating must not need more memory than a block.

Source: pytorch caffe2/serialize/inline_container.cc (stored entries, 64-byte alignment).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from saxflow.checkpoint.matrices import role_of, tensor_shape
from saxflow.checkpoint.meta import CUTS, tensor_names
from saxflow.weights import Dimensions

BLOCK_ELEMENTS = 8 << 20
LLAMA_7B = Dimensions(32, 4096, 32, 32, 128, 11008, 32000)
LLAMA_7B_4_LAYERS = Dimensions(4, 4096, 32, 32, 128, 11008, 32000)
LLAMA_70B = Dimensions(80, 8192, 64, 8, 128, 28672, 32000)
LLAMA_70B_1_LAYER = Dimensions(1, 8192, 64, 8, 128, 28672, 32000)


def write_meta(folder: Path, dims: Dimensions, shards: int, *, sparse: bool = False) -> int:
    """Write a model as bfloat16 shards and return the bytes of its tensors.

    Args:
        sparse: leave tensor data as holes in the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).standard_normal(BLOCK_ELEMENTS, np.float32) * 0.02
    block = (values.view(np.uint32) >> 16).astype(np.uint16)
    total = 0
    for shard in range(shards):
        shapes = {name: _shape(name, dims, shards) for name in tensor_names(dims.layers)}
        with (folder / f"consolidated.{shard:02}.pth").open("wb") as file:
            total += _Writer(file, block, sparse=sparse).write(shapes)
    (folder / "params.json").write_text(json.dumps(_params(dims)))
    return total


def _shape(name: str, dims: Dimensions, shards: int) -> tuple[int, ...]:
    rows, cols = tensor_shape(name, dims)
    axis = 1 if name == "tok_embeddings.weight" else CUTS[role_of(name)]
    if axis is None:
        return (cols,)
    return (rows // shards, cols) if axis == 0 else (rows, cols // shards)


def _params(dims: Dimensions) -> dict[str, object]:
    grouped = {"n_kv_heads": dims.kv_heads} if dims.kv_heads != dims.heads else {}
    factor = {"ffn_dim_multiplier": 1.3, "multiple_of": 4096} if dims.model_dim == 8192 else {}
    return {
        "dim": dims.model_dim,
        "n_layers": dims.layers,
        "n_heads": dims.heads,
        "multiple_of": 256,
        "norm_eps": dims.norm_eps,
        "vocab_size": -1,
        **grouped,
        **factor,
    }


class _Writer:
    """One torch archive, written front to back; entries of 4 GiB and more do not occur."""

    def __init__(self, file: BinaryIO, block: np.ndarray, *, sparse: bool) -> None:
        self._file = file
        self._block = block
        self._sparse = sparse
        self._central: list[bytes] = []

    def write(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        pickle = _pickle(shapes)
        self._entry("data.pkl", iter([pickle]), len(pickle))
        self._entry("byteorder", iter([b"little"]), 6)
        total = 0
        for key, shape in enumerate(shapes.values()):
            size = 2 * prod(shape)
            self._entry(f"data/{key}", None if self._sparse else self._values(size), size)
            total += size
        self._entry("version", iter([b"3\n"]), 2)
        self._end()
        return total

    def _values(self, size: int) -> Iterator[memoryview]:
        block = self._block.data.cast("B")
        while size:
            piece = block[: min(size, len(block))]
            size -= len(piece)
            yield piece

    def _entry(self, name: str, pieces: Iterator[bytes | memoryview] | None, size: int) -> None:
        """Write an entry, or leave a hole for it; its crc32, which nobody reads, is left out."""
        label = f"archive/{name}".encode()
        header = self._file.tell()
        wide = header >= 0xFFFFFFFF
        base = header + 30 + len(label) + 4 + (4 if wide else 0)
        padding = -base % 64 + (4 if wide else 0)
        extra = struct.pack("<2H", 0x4246, padding) + b"Z" * padding
        self._file.write(_local_header(label, extra, size) + label + extra)
        if pieces is None:
            self._file.seek(size, 1)
        for piece in pieces or ():
            self._file.write(piece)
        wide_extra = struct.pack("<2HQ", 1, 8, header) if wide else b""
        self._central.append(
            struct.pack(
                "<4s4B4HL2L5H2L",
                b"PK\x01\x02",
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                size,
                size,
                len(label),
                len(wide_extra),
                0,
                0,
                0,
                0,
                min(header, 0xFFFFFFFF),
            )
            + label
            + wide_extra
        )

    def _end(self) -> None:
        start = self._file.tell()
        self._file.write(b"".join(self._central))
        length, count = self._file.tell() - start, len(self._central)
        self._file.write(
            struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, start)
            + struct.pack("<4sLQL", b"PK\x06\x07", 0, start + length, 1)
            + struct.pack(
                "<4s4H2LH",
                b"PK\x05\x06",
                0,
                0,
                min(count, 0xFFFF),
                min(count, 0xFFFF),
                min(length, 0xFFFFFFFF),
                min(start, 0xFFFFFFFF),
                0,
            )
        )


def _local_header(label: bytes, extra: bytes, size: int) -> bytes:
    return struct.pack(
        "<4s2B4HL2L2H", b"PK\x03\x04", 0, 0, 0, 0, 0, 0, 0, size, size, len(label), len(extra)
    )


def _pickle(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """Return what torch.save would pickle for contiguous bfloat16 tensors of these shapes."""
    parts = [b"\x80\x02}("]
    for key, (name, shape) in enumerate(shapes.items()):
        strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
        parts += [
            _text(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            _text("storage"),
            b"ctorch\nBFloat16Storage\n",
            _text(str(key)),
            _text("cpu"),
            _number(prod(shape)),
            b"tQK\x00(",
            b"".join(map(_number, shape)),
            b"t(",
            b"".join(map(_number, strides)),
            b"t\x89ccollections\nOrderedDict\n)RtR",
        ]
    return b"".join([*parts, b"u."])


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)
