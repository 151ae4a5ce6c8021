"""Pickles from strangers: what torch writes is read, everything else is refused and nothing runs."""

import collections
import io
import os
import pickle
import subprocess
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saxflow.checkpoint.pickled import StorageRef, TensorRef, load, tensors
from saxflow.errors import WeightsError


def pickle_of(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        return archive.read(name)


def test_tensors_are_described_not_read():
    base = torch.zeros(10, dtype=torch.float16)
    data = pickle_of({"a": base[2:8].view(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)})
    found = tensors(data, "x.pth")
    assert found["a"] == TensorRef(StorageRef("0", "float16", 10), 2, (2, 3), (3, 1))
    assert found["b"].storage.dtype == "bfloat16"
    assert found["b"].elements == 4


@pytest.mark.parametrize("wrap", [dict, collections.OrderedDict, lambda d: {"model": d}])
def test_the_usual_containers(wrap):
    found = tensors(pickle_of(wrap({"w": torch.zeros(2)})), "x.pth")
    assert found["w"].shape == (2,)


def test_parameters_are_tensors():
    found = tensors(pickle_of({"w": torch.nn.Parameter(torch.zeros(2, 2))}), "x.pth")
    assert found["w"].shape == (2, 2)


def test_plain_values_are_loaded():
    value = {"a": [1, -2, 3 << 40, 2.5, None, True], "b": ("x", {"c": ()})}
    for protocol in (2, 3, 4, 5):
        assert load(pickle.dumps(value, protocol), "x") == value


class Evil:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize(
    "evil",
    [
        Evil(os.system, "touch /tmp/owned"),
        Evil(eval, "1+1"),
        Evil(subprocess.Popen, ["true"]),
        Evil(torch.load, "x"),
        Evil(torch.hub.load, "x", "y"),
        Evil(collections.deque, [1]),
    ],
    ids=lambda evil: evil.call[0].__name__,
)
def test_calls_are_refused(evil, protocol):
    with pytest.raises(WeightsError, match="refused and nothing was run"):
        load(pickle.dumps({"w": evil}, protocol), "x.pth")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02cos\nsystem\n.", "global 'os.system'"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "global 'os.system'"),
        (b"\x80\x02ctorch\nload\n.", "global 'torch.load'"),
        (b"(S'x'\nios\nsystem\n.", "opcode"),
        (b"\x80\x02\x82\x01.", "opcode 0x82"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "opcode 0x81"),
        (b"\x80\x02K\x01K\x02b.", "state of a int"),
        (b"\x80\x02]}b.", "state of a list"),
        (b"\x80\x02K\x01)R.", "a call of 1"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "persistent id 'a'"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "damaged"),
        (b"\x80\x02ccollections\nOrderedDict\n]K\x01a\x85R.", "damaged"),
        (b"\x80\x02r\xff\xff\xff\xff.", "damaged"),
        (b"\x80\x02h\x09.", "damaged"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "damaged"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.", "damaged"),
        (b"\x80\x02}]]s.", "damaged"),
        (b"\x80\x02(.", "damaged"),
        (b"\x80\x02t.", "damaged"),
        (b"\x80\x09.", "damaged"),
        (b"\x80\x02N", "damaged"),
        (b"", "damaged"),
        (b"\x80\x02)" + b"\x85" * 100_000 + b"Q.", r"persistent id \(\("),
        (b"\x80\x02)" + b"\x85" * 100_000 + b")R.", r"a call of \(\("),
        (b"\x80\x02" + b"N" * 1_000_001 + b".", "more than 1000000 opcodes"),
        (b"\x80\x02N" + b"\x94" * 1_000_001 + b".", "more than 1000000 opcodes"),
        (b"\x80\x02c" + b"a" * 9999 + b"\nb\n.", "damaged"),
        (b"\x80\x02X\x0f\x27\x00\x00" + b"a" * 9999 + b".", "a text of 9999 bytes"),
    ],
)
def test_hostile_or_broken_bytes(data, message):
    with pytest.raises(WeightsError, match=message):
        load(data, "x.pth")


@pytest.mark.parametrize("sizes", [(1,) * 65, (1 << 64,), (1, -1)])
def test_sizes_that_no_tensor_has(sizes):
    def enc(value):
        return pickle.dumps(value, 2)[2:-1]

    data = b"".join(
        [
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((",
            enc("storage") + b"ctorch\nFloatStorage\n" + enc("0") + enc("cpu") + enc(1) + b"tQ",
            enc(0) + enc(sizes) + enc(sizes) + b"tR.",
        ]
    )
    with pytest.raises(WeightsError, match="where sizes belong") as caught:
        load(data, "x.pth")
    assert len(str(caught.value)) < 300


def test_a_name_that_would_write_to_the_terminal():
    with pytest.raises(WeightsError, match=r"'\\x1b\[2J' is no tensor's name"):
        tensors(pickle.dumps({"\x1b[2J": 1}, 2), "x.pth")


def refusal(read, data: bytes) -> str:
    """Return the file that a refusal names, nothing when the bytes were read."""
    try:
        read(data, "x.pth")
    except WeightsError as error:
        return str(error).partition(":")[0].partition(" ")[0]
    return ""


@given(st.binary(max_size=200))
def test_random_bytes_never_do_anything_else(data):
    assert refusal(load, b"\x80\x02" + data) in ("", "x.pth")


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(place, value):
    data = bytearray(_STATE)
    data[place % len(data)] = value
    assert refusal(tensors, bytes(data)) in ("", "x.pth")


_STATE = pickle_of({f"layer.{i}": torch.zeros(3, 2) for i in range(5)})


def test_something_that_is_no_dictionary_of_tensors():
    with pytest.raises(WeightsError, match="holds list"):
        tensors(pickle.dumps([1], 2), "x.pth")
    with pytest.raises(WeightsError, match="entry 'step' is int"):
        tensors(pickle.dumps({"step": 1}, 2), "x.pth")


def test_quantised_and_unknown_storages_are_refused():
    with pytest.raises(WeightsError, match=r"torch\.QInt8Storage"):
        load(b"\x80\x02(X\x07\x00\x00\x00storagectorch\nQInt8Storage\nX\x01\x00\x00\x000", "x")
