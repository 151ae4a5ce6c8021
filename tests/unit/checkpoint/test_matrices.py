import pytest

from saxflow.checkpoint.matrices import (
    ELEMENT_BYTES,
    Matrix,
    Part,
    Source,
    role_of,
    tensor_shape,
)
from saxflow.checkpoint.meta import tensor_names
from saxflow.weights import Dimensions

GROUPED = Dimensions(
    layers=2, model_dim=64, heads=8, kv_heads=2, head_dim=16, hidden_dim=192, vocab=76
)
"""Every length differs, and heads are wider than the model divided by their number."""


def source(*matrices: Matrix) -> Source:
    return Source("meta", 1, GROUPED, {one.name: one for one in matrices}, (), {})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("tok_embeddings.weight", (76, 64)),
        ("output.weight", (76, 64)),
        ("layers.0.attention.wq.weight", (128, 64)),
        ("layers.1.attention.wk.weight", (32, 64)),
        ("layers.1.attention.wv.weight", (32, 64)),
        ("layers.0.attention.wo.weight", (64, 128)),
        ("layers.0.feed_forward.w1.weight", (192, 64)),
        ("layers.0.feed_forward.w2.weight", (64, 192)),
        ("layers.1.feed_forward.w3.weight", (192, 64)),
        ("layers.0.attention_norm.weight", (1, 64)),
        ("layers.0.ffn_norm.weight", (1, 64)),
        ("norm.weight", (1, 64)),
    ],
)
def test_shapes_of_every_tensor(name, shape):
    assert tensor_shape(name, GROUPED) == shape


def test_shapes_add_up_to_the_parameters():
    shapes = [tensor_shape(name, GROUPED) for name in tensor_names(GROUPED.layers)]
    assert sum(rows * cols for rows, cols in shapes) == GROUPED.parameters


@pytest.mark.parametrize(
    ("tensor", "role"),
    [
        ("layers.0.attention.wq.weight", "attention.wq.weight"),
        ("layers.79.ffn_norm.weight", "ffn_norm.weight"),
        ("norm.weight", "norm.weight"),
        ("layers.x.attention.wq.weight", "layers.x.attention.wq.weight"),
        ("layers.0.", "layers.0."),
        ("my.layers.0.w", "my.layers.0.w"),
        ("layers.0.a\nb", "layers.0.a\nb"),
        ("layers.1234567890.w", "layers.1234567890.w"),
        ("layers.٣.w", "layers.٣.w"),
        ("", ""),
    ],
)
def test_a_role_is_the_name_without_its_layer(tensor, role):
    assert role_of(tensor) == role


@pytest.mark.parametrize(("dtype", "size"), [("float16", 2), ("bfloat16", 2), ("float32", 4)])
def test_bytes_are_counted_by_the_parts_dtype(dtype, size):
    part = Part("a", 0, 8 * size, rows=3, cols=5, dtype=dtype)
    assert ELEMENT_BYTES[dtype] == size
    assert source(Matrix("m", 3, 5, (part,))).bytes_total == 15 * size


def test_replicas_are_not_counted_twice():
    parts = tuple(Part(name, 0, 8, rows=1, cols=4, dtype="float16") for name in ("a", "b"))
    assert source(Matrix("norm.weight", 1, 4, parts[:1], (parts,))).bytes_total == 8


def test_bytes_of_a_model_beyond_any_machine_word():
    part = Part("a", 0, 1 << 80, rows=1 << 40, cols=1 << 79, dtype="float16")
    assert source(Matrix("m", part.rows, part.cols, (part,))).bytes_total == 1 << 120


def test_a_source_without_tensors_has_no_bytes():
    assert source().bytes_total == 0
