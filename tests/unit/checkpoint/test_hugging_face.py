import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from saxflow.checkpoint.directory import Entry
from saxflow.checkpoint.hugging_face import read_header, read_headers
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.errors import WeightsError
from saxflow.weights import Dimensions, dimensions_of_config

LLAMA_2_70B = {
    "model_type": "llama",
    "hidden_size": 8192,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "num_hidden_layers": 80,
    "intermediate_size": 28672,
    "vocab_size": 32000,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
}
LLAMA_3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
}
CODE_LLAMA_34B = {
    **LLAMA_2_70B,
    "num_hidden_layers": 48,
    "intermediate_size": 22016,
    "rope_theta": 1000000,
}


@pytest.mark.parametrize(
    ("config", "dims"),
    [
        (LLAMA_2_70B, Dimensions(80, 8192, 64, 8, 128, 28672, 32000)),
        (LLAMA_3_8B, Dimensions(32, 4096, 32, 8, 128, 14336, 128256, 1e-5, 500000.0)),
        (CODE_LLAMA_34B, Dimensions(48, 8192, 64, 8, 128, 22016, 32000, 1e-5, 1e6)),
    ],
)
def test_published_configurations(config, dims):
    assert dimensions_of_config(config) == dims


def test_without_key_value_heads_every_head_has_its_own():
    config = {k: v for k, v in LLAMA_2_70B.items() if k != "num_key_value_heads"}
    assert dimensions_of_config(config).kv_heads == 64


def test_a_header_tells_where_tensors_lie(tmp_path):
    value = np.arange(12, dtype=np.float16).reshape(3, 4)
    save_file({"w": value, "b": np.ones(4, np.float32)}, tmp_path / "x.safetensors")
    size = (tmp_path / "x.safetensors").stat().st_size
    header = read_header(LocalDirectory(tmp_path), "x.safetensors", Entry(size))
    part = header.tensors["w"]
    raw = (tmp_path / "x.safetensors").read_bytes()[part.start :][: 3 * part.row_bytes]
    assert raw == value.tobytes()
    assert (header.tensors["b"].rows, header.tensors["b"].dtype) == (1, "float32")


def header_bytes(header, data=b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([], "is no object"),
        ({"w": {}}, "is incomplete"),
        ({"w": {"dtype": "F16", "shape": [2], "data_offsets": [0]}}, "is incomplete"),
        ({"w": 1}, "is incomplete"),
        ({"w": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}}, "dtype I8"),
        ({"w": {"dtype": "F16", "shape": [1, 1, 2], "data_offsets": [0, 4]}}, "one or two axes"),
        ({"w": {"dtype": "F16", "shape": [0, 2], "data_offsets": [0, 4]}}, "one or two axes"),
        ({"w": {"dtype": "F16", "shape": [9], "data_offsets": [0, 4]}}, "has 4 bytes of float16"),
    ],
)
def test_headers_that_do_not_add_up(tmp_path, header, message):
    data = header_bytes(header, bytes(4) if isinstance(header, dict) else b"")
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        read_header(LocalDirectory(tmp_path), "x.safetensors", Entry(len(data)))


def test_several_files_need_an_index(tmp_path):
    entries = {"a.safetensors": Entry(1), "b.safetensors": Entry(1)}
    with pytest.raises(WeightsError, match=r"no model\.safetensors\.index\.json"):
        read_headers(LocalDirectory(tmp_path), entries, None)


@pytest.mark.parametrize("weight_map", [None, [], {"w": 1}, {"w": "../../etc/passwd"}])
def test_an_index_that_leads_elsewhere(tmp_path, weight_map):
    with pytest.raises(WeightsError, match="weight_map must map tensors to files"):
        read_headers(LocalDirectory(tmp_path), {}, {"weight_map": weight_map})


def test_a_tensor_that_a_header_names_twice(tmp_path):
    entry = b'"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}'
    header = b"{" + entry + b"," + entry + b"}"
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(WeightsError, match=r"x\.safetensors.*a name appears twice"):
        read_header(LocalDirectory(tmp_path), "x.safetensors", Entry(8 + len(header) + 4))
