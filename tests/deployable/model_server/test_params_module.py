"""servable.json becomes the attributes that SAX's BaseLLaMA reads, or the server says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from saxflow.sax.servable import REGISTRY, Servable

KEY = f"{REGISTRY}.Llama"


def test_grouped_query_attention_from_data(registry: Any, servable_file: Any) -> None:
    facts = registry.attributes(servable_file(), KEY)
    expected = {
        "NUM_LAYERS": 2,
        "NUM_HEADS": 8,
        "NUM_KV_HEADS": 4,
        "USE_MQA": True,
        "DIMS_PER_HEAD": 16,
        "MODEL_DIMS": 128,
        "HIDDEN_DIMS": 384,
        "VOCAB_SIZE": 320,
        "RMS_NORM_EPSILON": 1e-5,
        "FPROP_DTYPE": "bfloat16",
        "MODEL_DTYPE": "bfloat16",
        "ICI_MESH_SHAPE": [1, 1, 1],
        "BATCH_SIZE": [1],
        "INPUT_SEQ_LEN": 128,
        "BUCKET_KEYS": [128],
        "MAX_DECODE_STEPS": [32],
        "ENABLE_GENERATE_STREAM": True,
        "SPM_MODEL": "gs://nobody/tokenizer.model",
        "module": REGISTRY,
    }
    assert {name: facts[name] for name in expected} == expected


def test_multi_head_attention_needs_no_kv_heads(registry: Any, servable_file: Any) -> None:
    facts = registry.attributes(servable_file(kv_heads=8), KEY)
    assert facts["USE_MQA"] is False
    assert "NUM_KV_HEADS" not in facts


def test_test_mode_stays_off_whatever_sax_sets(registry: Any, servable_file: Any) -> None:
    assert registry.attributes(servable_file(), KEY)["test_mode"] is False


def test_a_full_answer_may_be_as_long_as_was_asked_for(registry: Any, servable_file: Any) -> None:
    facts = registry.attributes(servable_file(max_new_tokens=512), KEY)
    assert facts["MAX_DECODE_STEPS"] == [512]
    assert facts["EXTRA_INPUTS"]["per_example_max_decode_steps"] == 512


def test_sampling_is_asked_for_never_assumed(registry: Any, servable_file: Any) -> None:
    extra = registry.attributes(servable_file(), KEY)["EXTRA_INPUTS"]
    assert extra["temperature"] == 0.0
    assert extra["per_example_top_k"] == 200


def test_a_forced_stock_class_registers_nothing_of_ours(registry: Any, servable_file: Any) -> None:
    stock = "saxml.server.pax.lm.params.lm_cloud.LLaMA7BFP16TPUv5e"
    path = servable_file(**{"class": "LLaMA7BFP16TPUv5e", "model_path": stock})
    assert registry.attributes(path, stock)["module"] == stock.rpartition(".")[0]


@pytest.mark.parametrize(("longest", "keys"), [(64, [64]), (128, [128]), (1024, [128, 1024])])
def test_short_prompts_get_their_own_program(
    registry: Any, servable_file: Any, longest: int, keys: list[int]
) -> None:
    assert registry.attributes(servable_file(input_len=longest), KEY)["BUCKET_KEYS"] == keys


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_compute_dtype_is_the_models_dtype(
    registry: Any, servable_file: Any, dtype: str
) -> None:
    facts = registry.attributes(servable_file(compute_dtype=dtype), KEY)
    assert (facts["FPROP_DTYPE"], facts["MODEL_DTYPE"]) == (dtype, dtype)


def test_ids_as_text_need_no_tokenizer(registry: Any, servable_file: Any) -> None:
    facts = registry.attributes(servable_file(tokenizer="ids:", stream=False), KEY)
    assert (facts["TOKENIZED_INPUT"], facts["TOKENIZED_OUTPUT"]) == (True, True)


def test_a_local_tokenizer_is_a_path(registry: Any, servable_file: Any) -> None:
    facts = registry.attributes(servable_file(tokenizer="file:///etc/saxflow/tokenizer.model"), KEY)
    assert facts["SPM_MODEL"] == "/etc/saxflow/tokenizer.model"


@pytest.mark.parametrize(
    "sizes",
    [
        {"layers": 32, "heads": 32, "kv_heads": 32, "model_dim": 4096, "hidden_dim": 11008},
        {"layers": 40, "heads": 40, "kv_heads": 40, "model_dim": 5120, "hidden_dim": 13824},
        {"layers": 80, "heads": 64, "kv_heads": 8, "model_dim": 8192, "hidden_dim": 28672},
    ],
    ids=["7b", "13b", "70b"],
)
def test_what_the_plan_writes_is_what_the_server_reads(
    registry: Any, tmp_path: Path, sizes: dict[str, Any]
) -> None:
    planned = Servable(
        **sizes,
        head_dim=128,
        vocab=32000,
        tokenizer="gs://models/tokenizer.model",
        mesh=(1, 1, 8),
        stream=False,
    )
    path = tmp_path / "planned.json"
    path.write_text(planned.to_json())
    facts = registry.attributes(path, planned.model_path)
    assert facts["HIDDEN_DIMS"] == sizes["hidden_dim"]
    assert facts["USE_MQA"] is (sizes["kv_heads"] != sizes["heads"])
    assert facts["ICI_MESH_SHAPE"] == [1, 1, 8]
    assert facts["ENABLE_GENERATE_STREAM"] is False


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rope_theta": 1e6}, "rope_theta is 1e+06; SAX v1.1.0 fixes it at 10000"),
        ({"heads": 6}, "heads 6 is not a multiple of kv_heads 4"),
        ({"head_dim": 32}, "heads 8 times head_dim 32 is not model_dim 128"),
        ({"tokenizer": "ids:"}, "`ids:` cannot stream in SAX; set stream to false"),
        ({"tokenizer": "tokenizer.model"}, "tokenizer is 'tokenizer.model'; it must be gs://"),
        ({"layers": 0}, "layers is 0; it must be a positive integer"),
        ({"layers": True}, "layers is True; it must be a positive integer"),
        ({"mesh": [1, 4]}, "mesh is [1, 4]; it must be three positive integers"),
        ({"stream": "yes"}, "stream is 'yes'; it must be true or false"),
        ({"norm_eps": 0}, "norm_eps is 0; it must be a positive number"),
        ({"compute_dtype": "int8"}, "compute_dtype is 'int8'; it must be bfloat16"),
        ({"compute_dtype": []}, "compute_dtype is []; it must be bfloat16"),
        ({"kv_heads": 1}, "one KV head for 8 heads; SAX's grouped-query attention needs two"),
        ({"class": "Other"}, f"model_path is '{KEY}', class makes it {REGISTRY}.Other"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(
    registry: Any, servable_file: Any, changes: dict[str, Any], complaint: str
) -> None:
    assert complaint in registry.refusal(servable_file(**changes))


def test_every_problem_is_reported_at_once(registry: Any, servable_file: Any) -> None:
    said = registry.refusal(servable_file(layers=-1, vocab="many", mesh=None))
    assert all(f"{key} is " in said for key in ("layers", "vocab", "mesh"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not JSON"),
        ("[]", "holds a list; it must be an object"),
        ("{}", "servable.json: layers is missing; heads is missing"),
    ],
)
def test_a_broken_file_is_named(registry: Any, tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    assert complaint in registry.refusal(path)


def test_a_missing_file_names_the_remedy(registry: Any, tmp_path: Path) -> None:
    said = registry.refusal(tmp_path / "absent.json")
    assert "absent.json: No such file or directory; mount the deployment's servable.json" in said
