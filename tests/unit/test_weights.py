import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.errors import WeightsError
from saxflow.weights import (
    SourceFile,
    dimensions_of_config,
    dimensions_of_params,
    fingerprint,
    hidden_dim_of,
    shards_by_number,
)

LLAMA_7B = {"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-05}


@pytest.mark.parametrize(
    ("dim", "multiple_of", "multiplier", "hidden"),
    [(4096, 256, None, 11008), (5120, 256, None, 13824), (8192, 4096, 1.3, 28672)],
)
def test_hidden_dims_of_llama_2(
    dim: int, multiple_of: int, multiplier: float | None, hidden: int
) -> None:
    assert hidden_dim_of(dim, multiple_of, multiplier) == hidden


def test_7b_has_its_published_number_of_parameters() -> None:
    dims = dimensions_of_params({**LLAMA_7B, "vocab_size": -1}, vocab=32000)
    assert dims.parameters == 6_738_415_616
    assert dims.kv_heads == 32


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dim": 0}, "dim is 0"),
        ({"dim": "4096"}, "'4096'"),
        ({"n_heads": True}, "True"),
        ({"n_heads": 33}, "4096 is not a multiple of n_heads 33"),
        ({"n_kv_heads": 5}, "32 is not a multiple of n_kv_heads 5"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"norm_eps": -1}, "norm_eps is -1"),
        ({"ffn_dim_multiplier": "big"}, "'big'"),
        ({"dim": 2**31}, "dim is 2147483648; it must be a positive integer below 2147483648"),
        ({"dim": 32 * 10**400}, "dim is 320000"),
        ({"multiple_of": 10**400}, "multiple_of is 1000"),
        ({"vocab_size": 10**400}, "vocab_size is 1000"),
        ({"vocab_size": 1.0}, "vocab_size is 1.0"),
        (
            {"norm_eps": float("inf")},
            r"norm_eps is inf; it must be a positive number, at most 1\.79769e\+308",
        ),
        ({"norm_eps": float("nan")}, "norm_eps is nan"),
        ({"rope_theta": 10**400}, "rope_theta is 1000"),
        ({"ffn_dim_multiplier": float("inf")}, "ffn_dim_multiplier is inf"),
        (
            {"ffn_dim_multiplier": 1e308},
            r"multiplier is 1e\+308; it must be a positive number, at most 2\.14748e\+09",
        ),
    ],
)
def test_bad_params_name_field_and_value(change: dict[str, object], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        dimensions_of_params({**LLAMA_7B, "vocab_size": 32000, **change})


def test_an_unknown_vocabulary_is_not_guessed() -> None:
    with pytest.raises(WeightsError, match="rows of tok_embeddings"):
        dimensions_of_params({**LLAMA_7B, "vocab_size": -1})


FILES = st.lists(
    st.builds(SourceFile, st.text("abc.", min_size=1), st.integers(0, 9), st.text("xyz")),
    max_size=4,
)


@given(FILES, st.randoms())
def test_fingerprints_ignore_the_order_of_files(files: list[SourceFile], random: object) -> None:
    shuffled = list(files)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    layout = {"mesh": 4, "compressor": "none"}
    first = fingerprint(files, dtype="float16", layout=layout)
    assert first == fingerprint(shuffled, dtype="float16", layout=layout)
    assert len(first) == 12


def test_fingerprints_tell_content_dtype_and_layout_apart() -> None:
    file = SourceFile("consolidated.00.pth", 5, "AAAA")
    base = fingerprint([file], dtype="float16", layout={"mesh": 4})
    others = {
        fingerprint(
            [SourceFile("consolidated.00.pth", 5, "AAAB")], dtype="float16", layout={"mesh": 4}
        ),
        fingerprint([file], dtype="bfloat16", layout={"mesh": 4}),
        fingerprint([file], dtype="float16", layout={"mesh": 8}),
    }
    assert base not in others
    assert len(others) == 3


CONFIG = {
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "num_hidden_layers": 80,
    "rms_norm_eps": 1e-05,
    "vocab_size": 32000,
}


def test_hugging_face_and_meta_agree_on_70b() -> None:
    params = {"dim": 8192, "multiple_of": 4096, "ffn_dim_multiplier": 1.3, "n_heads": 64}
    meta = params | {"n_kv_heads": 8, "n_layers": 80, "norm_eps": 1e-05, "vocab_size": 32000}
    assert dimensions_of_config(CONFIG) == dimensions_of_params(meta)


def test_rope_theta_of_newer_configs() -> None:
    assert dimensions_of_config(CONFIG | {"rope_theta": 5e5}).rope_theta == 5e5
    newer = CONFIG | {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}
    assert dimensions_of_config(newer).rope_theta == 5e5
    assert dimensions_of_config(newer | {"rope_theta": None}).rope_theta == 5e5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mistral"}, "model_type is 'mistral'"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "rope_scaling 'llama3'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"hidden_size": None}, "hidden_size is None"),
        ({"rms_norm_eps": 0}, "rms_norm_eps is 0"),
        ({"num_key_value_heads": 7}, "do not divide"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear'; an object or null was expected"),
        ({"rope_parameters": [1]}, r"rope_parameters is \[1\]; an object or null was expected"),
        (
            {"rope_scaling": {"type": "default"}, "rope_parameters": {"rope_type": "yarn"}},
            "rope_parameters 'yarn' cannot be served",
        ),
        ({"rope_theta": 10**400}, "rope_theta is 1000"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps is inf"),
        ({"hidden_size": 64 * 10**400}, "hidden_size is 64000"),
    ],
)
def test_configs_that_cannot_be_served(change: dict[str, object], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        dimensions_of_config(CONFIG | change)


def test_shards_are_known_by_their_numbers():
    names = ["consolidated.01.pth", "params.json", "consolidated.00.pth", "consolidated.x.pth"]
    assert shards_by_number(names) == {0: names[2], 1: names[0]}
    with pytest.raises(
        WeightsError, match=r"here: consolidated.01.pth and consolidated.1.pth both"
    ):
        shards_by_number([*names, "consolidated.1.pth"], "here: ")
