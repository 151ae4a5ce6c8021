"""Which format a directory holds, what its documents promise, what its fingerprint covers."""

import json
import math
import os
import re
import shutil
import struct
import tracemalloc

import pytest
import torch

from saxflow.checkpoint.cloud_directory import CloudDirectory
from saxflow.checkpoint.hugging_face import LAYER_NAMES, TOP_NAMES
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.matrices import tensor_shape
from saxflow.checkpoint.meta import tensor_names
from saxflow.checkpoint.source import (
    MAX_DOCUMENT_BYTES,
    read_document,
    read_source,
    source_files,
)
from saxflow.errors import NotFoundError, WeightsError
from saxflow.weights import Dimensions

DIMS = Dimensions(layers=1, model_dim=8, heads=2, kv_heads=1, head_dim=4, hidden_dim=16, vocab=10)
CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 1,
    "intermediate_size": 16,
    "vocab_size": 10,
}
NAMES = {**TOP_NAMES, **{f"layers.0.{a}": f"model.layers.0.{b}" for a, b in LAYER_NAMES.items()}}
FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PARAMS = {"dim": 8, "n_layers": 1, "n_heads": 2, "multiple_of": 24, "vocab_size": 10}
SHARD = "consolidated.00.pth"


def read(folder):
    return read_source(LocalDirectory(folder))


def headers(dims=DIMS):
    """Return a safetensors header of zeros, and the size of its data."""
    found, place = {}, 0
    for ours, theirs in NAMES.items():
        shape = tensor_shape(ours, dims)
        end = place + 2 * math.prod(shape)
        shape = shape[1:] if ours.endswith("norm.weight") else shape
        found[theirs] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    return found, place


def write_safetensors(path, header, data_bytes):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + data_bytes)


@pytest.fixture
def hugging_face(tmp_path):
    """A model in one file whose data nobody needs."""
    write_safetensors(tmp_path / FILE, *headers())
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


@pytest.fixture
def meta(tmp_path, golden):
    """The golden model in two shards, to be changed."""
    return shutil.copytree(golden / "tiny_mha_2shards/meta", tmp_path / "meta")


def change_json(path, **change):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def write_shard(folder, **strange):
    """Write a model of Meta's format with one shard, and tensors that do not belong."""
    shapes = {name: tensor_shape(name, PLAIN) for name in tensor_names(1)}
    state = {
        name: torch.zeros(shape[1:] if name.endswith("norm.weight") else shape, dtype=torch.half)
        for name, shape in shapes.items()
    }
    torch.save(state | strange, folder / SHARD)
    (folder / "params.json").write_text(json.dumps(PARAMS))
    return folder


PLAIN = Dimensions(layers=1, model_dim=8, heads=2, kv_heads=2, head_dim=4, hidden_dim=24, vocab=10)


def refused(folder, message, kind=WeightsError):
    with pytest.raises(kind) as caught:
        read(folder)
    assert str(caught.value) == message.format(folder=folder)


def test_metas_format(meta):
    source = read(meta)
    assert (source.format, source.shards, source.ignored) == ("meta", 2, ())
    assert source.dimensions == Dimensions(2, 64, 4, 4, 16, 192, 320)
    assert source.params == json.loads((meta / "params.json").read_text())
    assert set(source.matrices) == set(tensor_names(2))
    assert source.bytes_total == source.dimensions.parameters * 2
    assert [file.name for file in source.files] == [SHARD, "consolidated.01.pth", "params.json"]


def test_hugging_faces_format(hugging_face):
    source = read(hugging_face)
    assert (source.format, source.shards, source.ignored) == ("safetensors", 1, ())
    assert source.dimensions == DIMS
    assert source.params == CONFIG
    assert source.bytes_total == 2 * DIMS.parameters
    assert [file.name for file in source.files] == ["config.json", FILE]


def test_metas_shards_decide_where_both_formats_lie(meta):
    write_safetensors(meta / FILE, *headers())
    (meta / "config.json").write_text(json.dumps(CONFIG))
    assert read(meta).format == "meta"


def test_files_in_folders_below_are_not_looked_at(hugging_face):
    (hugging_face / "original").mkdir()
    (hugging_face / "original" / SHARD).write_bytes(b"damaged")
    assert read(hugging_face).format == "safetensors"


def test_a_folder_named_as_a_shard_is_none(tmp_path):
    (tmp_path / SHARD).mkdir()
    refused(tmp_path, "{folder} holds no files; give the directory of the weights", NotFoundError)


@pytest.mark.parametrize(
    ("place", "wrong"), [("missing", "does not exist"), ("file", "holds no files")]
)
def test_no_directory_no_files(tmp_path, place, wrong):
    (tmp_path / "file").write_bytes(b"x")
    message = f"{{folder}} {wrong}; give the directory of the weights"
    refused(tmp_path / place, message, NotFoundError)


REMEDY = "give Meta's consolidated.NN.pth with params.json, or safetensors with config.json"


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("pytorch_model.bin", "pytorch_model.bin of Hugging Face"),
        ("llama.gguf", "GGUF"),
        ("tf_model.h5", "HDF5"),
        ("flax_model.msgpack", "Flax msgpack"),
        ("step=9.ckpt", "a training checkpoint"),
        ("model.pt", "a torch file of unknown layout"),
        ("model.pth", "a torch file that is not named consolidated.NN.pth"),
        ("consolidated.x.pth", "a torch file that is not named consolidated.NN.pth"),
        ("weights.npz", "numpy"),
    ],
)
def test_other_formats_are_called_by_their_names(tmp_path, name, called):
    for other in ("README.md", name):
        (tmp_path / other).write_bytes(b"x")
    refused(tmp_path, f"{{folder}}: {name} is {called}, which is not supported; {REMEDY}")


def test_what_is_no_weights_at_all_is_listed_in_part(tmp_path):
    for name in ("a", "b", "été.txt", "d", "e", "f"):
        (tmp_path / name).write_bytes(b"x")
    refused(tmp_path, f"{{folder}} holds no weights (found a, b, d, e, f); {REMEDY}")


@pytest.mark.parametrize("document", ["params.json", "config.json"])
def test_a_missing_document_is_named(meta, hugging_face, document):
    folder = meta if document == "params.json" else hugging_face
    (folder / document).unlink()
    refused(folder, f"{{folder}} lacks {document}; it belongs beside the weights")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "params.json is not JSON: Expecting value"),
        (b"{'dim': 1}", "params.json is not JSON: Expecting property name"),
        (b'{"dim": "\xff"}', "params.json is not JSON: 'utf-8' codec can't decode"),
        (b'{"dim": ' + b"9" * 5000 + b"}", "params.json is not JSON: Exceeds the limit"),
        (b"[" * 200_000, "params.json is not JSON: maximum recursion depth"),
        (b"[1]", "params.json holds list; an object was expected"),
        (b"null", "params.json holds NoneType; an object was expected"),
        (b'"{}"', "params.json holds str; an object was expected"),
    ],
)
def test_documents_that_are_none(tmp_path, content, said):
    (tmp_path / "params.json").write_bytes(content)
    files = LocalDirectory(tmp_path)
    with pytest.raises(WeightsError, match=re.escape(said)):
        read_document(files, files.entries(), "params.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_documents_in_every_encoding_of_json(tmp_path, encoding):
    (tmp_path / "params.json").write_bytes('{"dim": 8, "été": "😀"}'.encode(encoding))
    files = LocalDirectory(tmp_path)
    document = read_document(files, files.entries(), "params.json")
    assert document == {"dim": 8, "été": "😀"}


def test_a_document_too_large_is_not_even_read(tmp_path):
    (tmp_path / "params.json").touch()
    os.truncate(tmp_path / "params.json", MAX_DOCUMENT_BYTES + 1)
    files = LocalDirectory(tmp_path)
    with pytest.raises(WeightsError) as caught:
        read_document(files, files.entries(), "params.json")
    assert str(caught.value) == "params.json has 16777217 bytes; it cannot be the document"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dim": 128}, "dim gives 128, but the tensors have 64"),
        ({"n_layers": 1}, "n_layers gives 1, but the tensors have 2"),
        ({"vocab_size": 321}, "vocab_size gives 321, but the tensors have 320"),
        (
            {"multiple_of": 1},
            "multiple_of and ffn_dim_multiplier gives 170, but the tensors have 192",
        ),
        (
            {"ffn_dim_multiplier": 2.0},
            "multiple_of and ffn_dim_multiplier gives 384, but the tensors have 192",
        ),
    ],
)
def test_params_and_tensors_must_agree(meta, change, said):
    change_json(meta / "params.json", **change)
    refused(meta, f"params.json: {said}; the two belong to different models")


@pytest.mark.parametrize("field", ["use_scaled_rope", "rope_scaling"])
def test_scaled_rotary_embeddings_are_refused(meta, field):
    change_json(meta / "params.json", **{field: {"factor": 8}})
    refused(
        meta,
        "params.json: scaled rotary embeddings (Llama 3.1 and later) cannot be served by SAX;"
        " use Llama 2 or Llama 3 weights",
    )


def test_a_vocabulary_that_the_tensors_tell(meta):
    change_json(meta / "params.json", vocab_size=320)
    told = read(meta).dimensions
    change_json(meta / "params.json", vocab_size=-1)
    assert read(meta).dimensions == told


def test_a_torch_dictionary_that_is_no_llama(tmp_path):
    torch.save({"norm.weight": torch.zeros(8, dtype=torch.half)}, tmp_path / SHARD)
    (tmp_path / "params.json").write_text(json.dumps(PARAMS))
    refused(
        tmp_path,
        f"{SHARD} lacks tensor layers.0.attention.wq.weight; it is no Llama of Meta's format",
    )


def test_the_last_shard_is_missed_by_its_number(meta):
    (meta / "consolidated.01.pth").unlink()
    refused(
        meta,
        "consolidated.01.pth is missing (1 other shards are there);"
        " upload every shard of the model",
    )


def test_two_files_with_the_same_shard_number(meta):
    shutil.copy(meta / SHARD, meta / "consolidated.0.pth")
    refused(
        meta,
        f"consolidated.0.pth and {SHARD} both name shard 0; keep the one that belongs to the model",
    )


@pytest.mark.parametrize("number", ["9" * 400, "9999999999", "٣"])
def test_a_layer_that_no_model_has(tmp_path, number):
    name = f"layers.{number}.attention.wq.weight"
    write_shard(tmp_path, **{name: torch.zeros(8, 8, dtype=torch.half)})
    with pytest.raises(WeightsError, match="has no place for"):
        read(tmp_path)


def test_layers_that_are_promised_by_a_single_tensor_cost_no_memory(tmp_path):
    name = "layers.1999999999.attention.wq.weight"
    write_shard(tmp_path, **{name: torch.zeros(8, 8, dtype=torch.half)})
    change_json(tmp_path / "params.json", n_layers=2_000_000_000)
    refused(tmp_path, "params.json: n_layers is 2000000000, but there are 13 tensors")


def test_one_shard_of_metas_format(tmp_path):
    assert read(write_shard(tmp_path)).dimensions == PLAIN


def test_a_tied_output_layer_is_the_embedding(hugging_face):
    change_json(hugging_face / "config.json", tie_word_embeddings=True)
    source = read(hugging_face)
    assert source.ignored == ("lm_head.weight",)
    embedding, output = (
        source.matrices[name].parts for name in ("tok_embeddings.weight", "output.weight")
    )
    assert embedding == output


@pytest.mark.parametrize("value", [False, None, 1, "true"])
def test_only_true_ties(hugging_face, value):
    change_json(hugging_face / "config.json", tie_word_embeddings=value)
    assert read(hugging_face).ignored == ()


def split(folder, second):
    """Put the second half of the tensors into a file of its own, as an index tells."""
    header, _ = headers()
    names = list(header)
    weight_map = {}
    for file, part in ((FILE, names[:5]), (second, names[5:])):
        place, cut = 0, {}
        for name in part:
            start, end = header[name]["data_offsets"]
            cut[name] = header[name] | {"data_offsets": [place, place + end - start]}
            place += end - start
            weight_map[name] = file
        write_safetensors(folder / file, cut, place)
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def test_several_files_with_an_index(hugging_face):
    split(hugging_face, "second.safetensors")
    source = read(hugging_face)
    assert source.shards == 2
    assert source.bytes_total == 2 * DIMS.parameters
    files = [file.name for file in source.files]
    assert files == ["config.json", FILE, INDEX, "second.safetensors"]


def test_an_index_that_names_a_file_the_fingerprint_would_not_cover(hugging_face):
    split(hugging_face, "second.bin")
    refused(
        hugging_face,
        f"{INDEX}: weight_map must map tensors to files named *.safetensors beside it",
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dtype": ["F16"]}, "has dtype ['F16']"),
        ({"dtype": None}, "has dtype None"),
        ({"data_offsets": [0.0, 16.0]}, "entry in the header is incomplete"),
        ({"data_offsets": [False, 16]}, "entry in the header is incomplete"),
        ({"data_offsets": ["0", "16"]}, "entry in the header is incomplete"),
        ({"data_offsets": [0, 8, 16]}, "entry in the header is incomplete"),
        ({"data_offsets": None}, "entry in the header is incomplete"),
        ({"shape": [8.0]}, "has shape [8.0]"),
        ({"shape": [10**400]}, "of shape [1000"),
        ({"shape": "8"}, "has shape 8"),
    ],
)
def test_headers_of_the_wrong_types(tmp_path, change, said):
    header, size = headers()
    norm = header.pop("model.norm.weight")
    first = {"model.norm.weight": norm | {"data_offsets": [0, 16]} | change}
    place = 16
    for facts in header.values():
        start, end = facts["data_offsets"]
        facts["data_offsets"] = [place, place + end - start]
        place += end - start
    assert place == size
    write_safetensors(tmp_path / FILE, first | header, size)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(WeightsError, match=re.escape(said)):
        read(tmp_path)


def test_no_tensor_data_is_read_of_a_large_file(tmp_path):
    large = Dimensions(1, 8, 2, 1, 4, 16, vocab=2**31 - 1)
    header, size = headers(large)
    write_safetensors(tmp_path / FILE, header, size)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": large.vocab}))
    tracemalloc.start()
    source = read(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert source.bytes_total == 2 * large.parameters > 64e9
    assert peak < 1 << 20


def digests(folder):
    return {file.name: file.digest for file in read(folder).files}


def test_on_a_disk_a_tensor_file_is_known_by_its_time_and_index(meta):
    before = digests(meta)
    os.utime(meta / SHARD, ns=(0, 0))
    os.utime(meta / "params.json", ns=(0, 0))
    after = digests(meta)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {SHARD}
    assert after[SHARD].startswith("0:")
    assert len(after[SHARD]) > len("0:")


def test_on_a_disk_a_document_is_known_by_its_content(meta):
    before = digests(meta)
    change_json(meta / "params.json", norm_eps=1e-6)
    after = digests(meta)
    assert {name for name in before if before[name] != after[name]} == {"params.json"}


def test_in_cloud_storage_every_file_is_known_by_its_crc32c(storage, hugging_face):
    with CloudDirectory("gs://models/src") as files:
        for name in ("config.json", FILE, "tokenizer.model"):
            content = (hugging_face / name).read_bytes() if name != "tokenizer.model" else b"x"
            files.overwrite(name, content)
        source = read_source(files)
        entries = files.entries()
    assert source.dimensions == DIMS
    assert [(file.name, file.digest, file.generation) for file in source.files] == [
        (name, entries[name].crc32c, entries[name].generation) for name in ("config.json", FILE)
    ]
    assert all(file.generation for file in source.files)


def test_the_fingerprint_covers_no_tokenizer_and_no_notes(tmp_path):
    for name in ("tokenizer.model", "README.md", "checklist.chk", "params.json", "x.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    files = LocalDirectory(tmp_path)
    covered = source_files(files, files.entries(), {"x.safetensors": "of its index"})
    assert [file.name for file in covered] == ["params.json", "x.safetensors"]
    assert covered[1].digest.endswith(":of its index")


def test_a_document_too_large_to_read_is_known_by_its_time(tmp_path):
    (tmp_path / INDEX).touch()
    os.truncate(tmp_path / INDEX, MAX_DOCUMENT_BYTES + 1)
    files = LocalDirectory(tmp_path)
    entries = files.entries()
    (covered,) = source_files(files, entries, {})
    assert covered.digest == f"{entries[INDEX].changed}:"
