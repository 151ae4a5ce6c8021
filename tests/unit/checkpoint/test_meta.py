import io
import zipfile

import pytest
import torch

from saxflow.checkpoint.directory import Entry
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.meta import layer_count, read_shard, shard_names, tensor_names
from saxflow.errors import WeightsError

NAME = "consolidated.00.pth"


def rewritten(data: bytes, change) -> bytes:
    """Copy an archive entry by entry; `change` maps (name, content) to content or None."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = change(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return buffer.getvalue()


def shard_of(tmp_path, change=lambda _, content: content, value=None):
    buffer = io.BytesIO()
    torch.save(value or {"norm.weight": torch.ones(8, dtype=torch.float16)}, buffer)
    data = rewritten(buffer.getvalue(), change)
    (tmp_path / NAME).write_bytes(data)
    return read_shard(LocalDirectory(tmp_path), NAME, Entry(len(data)))


def test_parts_tell_where_elements_lie(tmp_path):
    shard = shard_of(tmp_path)
    part = shard.tensors["norm.weight"]
    raw = (tmp_path / NAME).read_bytes()[part.start :][: part.row_bytes]
    assert raw == b"\x00\x3c" * 8
    assert (part.rows, part.cols, part.dtype) == (1, 8, "float16")


def test_rotary_frequencies_are_left_out(tmp_path):
    shard = shard_of(tmp_path, value={"rope.freqs": torch.ones(2), "norm.weight": torch.ones(2)})
    assert set(shard.tensors) == {"norm.weight"}


@pytest.mark.parametrize(
    ("entry", "content", "message"),
    [
        ("byteorder", b"big", "big-endian"),
        ("data.pkl", None, r"without data\.pkl"),
        ("data/0", None, "entry data/0 is missing"),
        ("data/0", b"short", "has 5 bytes; 8 elements of float16 were promised"),
        ("data.pkl", b"\x80\x02cos\nsystem\n.", r"global 'os\.system'"),
    ],
)
def test_archives_that_do_not_add_up(tmp_path, entry, content, message):
    with pytest.raises(WeightsError, match=message):
        shard_of(tmp_path, lambda name, old: content if name == entry else old)


def test_a_tensor_that_reaches_outside_its_storage(tmp_path):
    wide = {"norm.weight": torch.ones(8, dtype=torch.float16)}

    def grow(name, old):
        return old.replace(b"K\x08\x85", b"K\x09\x85", 1) if name == "data.pkl" else old

    with pytest.raises(WeightsError, match="reaches outside its storage"):
        shard_of(tmp_path, grow, wide)


@pytest.mark.parametrize("shape", [(), (0, 2), (2, 2, 2)])
def test_shapes_that_no_weight_has(tmp_path, shape):
    with pytest.raises(WeightsError, match="one or two axes were expected"):
        shard_of(tmp_path, value={"norm.weight": torch.ones(shape)})


def test_shards_are_ordered_by_number_and_complete():
    entries = {f"consolidated.{i:02}.pth": Entry(1) for i in (2, 0, 1)}
    assert shard_names({**entries, "params.json": Entry(1)}) == sorted(entries)
    del entries["consolidated.00.pth"]
    with pytest.raises(WeightsError, match=r"consolidated\.00\.pth is missing"):
        shard_names(entries)


def test_layers_are_counted_by_name():
    assert layer_count(tensor_names(3)) == 3
    assert layer_count(["norm.weight"]) == 0
