"""What is wrong with a source is told from names and sizes, naming the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saxflow.errors import WeightsError
from saxflow.manifest import Manifest
from saxflow.plan import WeightFacts, tokenizer_candidates, weight_facts
from saxflow.plan.facts import document_name
from saxflow.weights import Dimensions, SourceFile

GOLDEN = Path(__file__).parents[2] / "data/golden"
TOKENIZER = (GOLDEN / "tiny320.model").read_bytes()
PARAMS = {
    "dim": 64,
    "multiple_of": 64,
    "n_heads": 4,
    "n_layers": 2,
    "norm_eps": 1e-5,
    "vocab_size": -1,
}
NEEDED = Dimensions(2, 64, 4, 4, 16, 192, 320).parameters * 2


def file(name: str, size: int = NEEDED) -> SourceFile:
    return SourceFile(name, size, "crc", "1")


def shards(*numbers: int, size: int = NEEDED) -> list[SourceFile]:
    return [file(f"consolidated.{number:02}.pth", size) for number in numbers]


def learn(listing: list[SourceFile], params: Any = PARAMS, **more: Any) -> WeightFacts:
    data = params if isinstance(params, bytes | None) else json.dumps(params).encode()
    arguments: dict[str, Any] = {"source": "gs://b/llama", "tokenizer": TOKENIZER} | more
    return weight_facts(listing, data, "gs://b/llama/tokenizer.model", **arguments)


def refused(*arguments: Any, **more: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        learn(*arguments, **more)
    return str(caught.value)


def test_the_golden_weights() -> None:
    meta = GOLDEN / "tiny_mha_2shards/meta"
    listing = [SourceFile(p.name, p.stat().st_size, "x") for p in meta.iterdir()]
    found = learn(
        [*listing, file("tokenizer.model"), file("README.md")], (meta / "params.json").read_bytes()
    )
    assert found.dimensions == Dimensions(2, 64, 4, 4, 16, 192, 320)
    assert [f.name for f in found.files] == [
        "consolidated.00.pth",
        "consolidated.01.pth",
        "params.json",
    ]
    assert found.size_bytes == 2 * 154147
    assert found.params["dim"] == 64


def test_a_given_vocabulary_wins_over_counting() -> None:
    assert learn(shards(0), tokenizer=None, vocab=100).dimensions.vocab == 100


def test_a_vocabulary_that_cannot_be_known() -> None:
    assert "vocab_size is -1 and there is no tokenizer.model" in refused(shards(0), tokenizer=None)


def test_a_tokenizer_of_other_weights() -> None:
    message = refused(shards(0), PARAMS | {"vocab_size": 300})
    assert "has 320 pieces, the embedding only 300 rows" in message


def test_a_smaller_tokenizer_is_fine() -> None:
    assert learn(shards(0, size=10**7), PARAMS | {"vocab_size": 512}).dimensions.vocab == 512


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [((1,), "00"), ((0, 2), "01"), ((0, 1, 4), "02.pth, consolidated.03")],
)
def test_gaps_name_the_shard(numbers: tuple[int, ...], missing: str) -> None:
    assert f"consolidated.{missing}.pth is missing" in refused(shards(*numbers))


@pytest.mark.parametrize(
    ("present", "of", "missing"),
    [(1, 2, "consolidated.01.pth"), (2, 4, "consolidated.02.pth, consolidated.03.pth"), (7, 8, "consolidated.07.pth")],
)  # fmt: skip
def test_shards_missing_at_the_end_are_missed_by_size(present: int, of: int, missing: str) -> None:
    message = refused(shards(*range(present), size=NEEDED // of + 500))
    assert f"{missing} seems to be missing" in message


def test_cut_files_are_missed_by_size() -> None:
    assert "need" in refused(shards(0, 1, size=NEEDED // 2 - 1))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_empty_files(suffix: str) -> None:
    listing = [*shards(0), file(f"consolidated.01.{suffix}", 0)]
    assert f"consolidated.01.{suffix} has 0 bytes" in refused(listing)


def test_tiny_files_do_not_lead_to_wild_guesses() -> None:
    assert "a file is missing or cut" in refused(shards(0, size=1))


def test_no_weights_at_all() -> None:
    assert "found: nothing" in refused([])
    listing = [file(f"{n}.txt") for n in range(7)]
    assert "found: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, ..." in refused(listing)


def test_two_files_for_one_shard() -> None:
    listing = [*shards(0), file("consolidated.0.pth")]
    assert refused(listing) == (
        "gs://b/llama: consolidated.0.pth and consolidated.00.pth both name shard 0;"
        " keep the one that belongs to the model"
    )


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("consolidated.20231122.pth", "consolidated.00.pth, consolidated.01.pth"),
        ("m-1-of-20231122.safetensors", "m-2-of-20231122.safetensors, m-3-of"),
        (f"m-1-of-{'9' * 900}.safetensors", "m-2-of-9"),
    ],
)
def test_a_number_without_end_costs_no_memory(name: str, first: str) -> None:
    message = refused([file(name)])
    assert message.startswith(f"gs://b/llama: {first}")
    assert message.count(".p") + message.count(".s") == 5
    assert message.endswith(", ... is missing beside 1 other tensor file; upload all of them")


def test_parts_of_safetensors_that_are_missing() -> None:
    listing = [file("model-00001-of-00003.safetensors"), file("model-00003-of-00003.safetensors")]
    assert "model-00002-of-00003.safetensors is missing" in refused(listing)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (None, "params.json does not exist"),
        (b"{", "params.json is not JSON"),
        (b"[" * 100_000, "params.json is not JSON"),
        (b"[1]", "holds no JSON object"),
        ({**PARAMS, "dim": 0}, "dim is 0"),
        ({**PARAMS, "vocab_size": 0}, "vocab_size is 0"),
    ],
)
def test_params_that_cannot_be_used(params: Any, said: str) -> None:
    assert said in refused(shards(0), params)


@pytest.mark.parametrize(
    ("weights", "candidates"),
    [
        ({"source": "gs://b/a/llama/"}, ("gs://b/a/llama/tokenizer.model", "gs://b/a/tokenizer.model")),
        ({"source": "gs://bucket"}, ("gs://bucket/tokenizer.model",)),
        ({"source": "gs://b/a", "tokenizer": "ids:"}, ("ids:",)),
        ({"source": "file:///a/b"}, ("file:///a/b/tokenizer.model", "file:///a/tokenizer.model")),
    ],
)  # fmt: skip
def test_where_tokenizers_are_looked_for(
    manifest_of: Callable[..., Manifest], weights: dict[str, str], candidates: tuple[str, ...]
) -> None:
    weights = {key: value.replace("gs://b/", "gs://bbb/") for key, value in weights.items()}
    expected = tuple(value.replace("gs://b/", "gs://bbb/") for value in candidates)
    assert tokenizer_candidates(manifest_of(weights=weights)) == expected


CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 320,
}
SAFETENSORS = [file("model.safetensors"), file("config.json", 200)]


def test_hugging_face_tells_its_dimensions_in_config_json() -> None:
    found = learn(SAFETENSORS, CONFIG)
    assert found.dimensions == Dimensions(2, 64, 4, 4, 16, 192, 320)
    assert document_name(SAFETENSORS) == "config.json"
    assert document_name([*SAFETENSORS, *shards(0)]) == "params.json"
    assert "config.json does not exist" in refused(SAFETENSORS, None)


def test_tied_embeddings_are_stored_once() -> None:
    listing = [file("model.safetensors", NEEDED - 320 * 64 * 2)]
    assert "a file is missing or cut" in refused(listing, CONFIG)
    assert learn(listing, CONFIG | {"tie_word_embeddings": True}).size_bytes
