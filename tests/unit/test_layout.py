import json
from math import prod
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow import layout
from saxflow.errors import InputError
from saxflow.weights import Dimensions

GOLDEN = Path(__file__).parents[1] / "data/golden/tiny_mha_2shards/pax/checkpoint_00000000"
TINY = Dimensions(2, 64, 4, 4, 16, 192, 320)
GQA = Dimensions(2, 64, 8, 2, 8, 192, 321)
LLAMA_70B = Dimensions(80, 8192, 64, 8, 128, 28672, 32000)


def names_and_arrays(root: Path) -> dict[str, dict]:
    return {p.parent.name: json.loads(p.read_text()) for p in root.glob("state/*/.zarray")}


def test_one_chunk_per_array_has_the_objects_of_the_real_converter():
    planned = {plan.name for plan in layout.objects(TINY, "float16", 1, "none")}
    real = {str(p.relative_to(GOLDEN)) for p in GOLDEN.rglob("*") if p.is_file()}
    assert planned == real


def test_metadata_equals_the_real_converters():
    written = json.loads(layout.documents(TINY, "float16", 1, "none")["metadata/metadata"])
    assert written == json.loads((GOLDEN / "metadata/metadata").read_text())


def test_zarray_differs_from_the_real_one_in_the_compressor_only():
    documents = layout.documents(TINY, "float16", 1, "none")
    for name, real in names_and_arrays(GOLDEN).items():
        ours = json.loads(documents[f"state/{name}/.zarray"])
        assert {**ours, "compressor": None} == {**real, "compressor": None}


def test_zstd_zarray_is_byte_identical_to_the_real_one():
    documents = layout.documents(TINY, "float16", 1, "zstd")
    name = "mdl_vars.params.lm.final_ln.scale"
    assert documents[f"state/{name}/.zarray"] == (GOLDEN / "state" / name / ".zarray").read_bytes()


def test_bfloat16_keeps_its_name_in_zarray_and_metadata():
    documents = layout.documents(TINY, "bfloat16", 1, "none")
    zarray = json.loads(documents["state/mdl_vars.params.lm.final_ln.scale/.zarray"])
    assert zarray["dtype"] == "bfloat16"
    assert b'"dtype": "bfloat16"' in documents["metadata/metadata"]


def test_grouped_query_attention_has_three_variables_in_place_of_the_stack():
    names = {v.name.split("x_layers_0.")[-1]: v for v in layout.pax_variables(GQA)}
    assert "self_attention.combined_qkv.w" not in names
    assert names["self_attention.query.w"].shape == (64, 8, 8)
    assert (
        names["self_attention.key.w"].shape == names["self_attention.value.w"].shape == (64, 2, 8)
    )


def test_chunk_count_on_the_mdl_axis_never_exceeds_its_length():
    key = layout.Variable("key", (8192, 8, 128), 1, (1, 0))
    assert layout.chunk_grid(key, mesh=16) == (8192, 1, 128)
    assert len(list(layout.chunks(key, mesh=16))) == 8


def test_no_chunk_of_a_70b_exceeds_the_bound_and_hosts_get_whole_chunks():
    for variable in layout.pax_variables(LLAMA_70B):
        for mesh in (1, 4, 8, 16):
            grid = layout.chunk_grid(variable, mesh=mesh)
            assert prod(grid) * 2 <= layout.MAX_CHUNK_BYTES
            if variable.mdl_axis is not None:
                share = -(-variable.shape[variable.mdl_axis] // mesh)
                assert share % grid[variable.mdl_axis] == 0


def test_a_70b_at_mesh_16_is_planned_in_full():
    sizes = [plan.size_bytes or 0 for plan in layout.objects(LLAMA_70B, "float16", 16, "none")]
    assert sum(sizes) >= 2 * LLAMA_70B.parameters


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.integers(1, 9),
    st.integers(2, 4096),
)
def test_chunks_cover_every_element_once(shape: list[int], mesh: int, bound: int):
    variable = layout.Variable("v", tuple(shape), len(shape) - 1, tuple(range(len(shape))))
    covered = 0
    for chunk in layout.chunks(variable, mesh=mesh, max_chunk_bytes=bound, itemsize=2):
        covered += prod(b - a for a, b in zip(chunk.start, chunk.stop, strict=True))
        assert chunk.size_bytes(2) <= bound
    assert covered == prod(shape)


@given(st.lists(st.integers(0, 100), max_size=50), st.integers(1, 9))
def test_tasks_own_consecutive_runs(sizes: list[int], count: int):
    owners = layout.task_of(sizes, count)
    assert owners == sorted(owners)
    assert all(0 <= owner < count for owner in owners)


def test_tasks_are_balanced_by_bytes():
    sizes = [chunk.size_bytes(2) for chunk in layout.all_chunks(LLAMA_70B, "float16", 16)]
    loads = [0] * 8
    for size, owner in zip(sizes, layout.task_of(sizes, 8), strict=True):
        loads[owner] += size
    assert max(loads) - min(loads) <= 2 * layout.MAX_CHUNK_BYTES


def test_a_scalar_has_the_chunk_key_zero():
    assert layout.chunk_key(()) == "0"
    assert layout.chunk_key((0, 3)) == "0.3"


def test_unknown_choices_are_refused_by_name():
    with pytest.raises(InputError, match="dtype 'float64' is unknown"):
        layout.itemsize_of("float64")
    with pytest.raises(InputError, match="compressor 'gzip' is unknown"):
        layout.layout_facts(1, "gzip")


def test_compressed_chunks_have_no_planned_size():
    sizes = {plan.name: plan.size_bytes for plan in layout.objects(TINY, "float16", 1, "zstd")}
    assert sizes["state/mdl_vars.params.lm.final_ln.scale/0"] is None
    assert sizes["state/step/0"] == 4


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("consolidated.00.pth", True),
        ("params.json", True),
        ("config.json", True),
        ("model-00001-of-00002.safetensors", True),
        ("model.safetensors.index.json", True),
        ("tokenizer.model", False),
        ("checklist.chk", False),
        ("consolidated.00.pth.tmp", False),
    ],
)
def test_source_files_are_tensors_and_dimensions(name: str, counts: bool):
    assert layout.is_source_file(name) is counts


def test_marker_order_ends_at_the_root():
    assert layout.MARKERS[-1] == "commit_success.txt"
    texts = layout.marker_texts("gs://b/d/")
    assert tuple(texts) == layout.MARKERS
    assert texts["state/commit_success.txt"].endswith(b" to gs://b/d/checkpoint_00000000/state")
    assert texts["commit_success.txt"].endswith(b" to gs://b/d/checkpoint_00000000")
