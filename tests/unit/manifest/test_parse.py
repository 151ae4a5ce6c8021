"""A manifest is read whole, or every problem is told with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.errors import ManifestError, Problem
from saxflow.manifest import API_VERSION, IDS_TOKENIZER, Manifest, parse, seconds_of

SMALLEST = "apiVersion: saxflow/v1\nname: tiny\nweights: {source: gs://my-models/tiny}\n"


def read(text: str, name: str = "tiny.yaml", *, local: bool = False) -> Manifest:
    return parse(text.encode(), source_name=name, allow_file_sources=local)


def problems(text: str, name: str = "tiny.yaml") -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read(text, name)
    assert all(p.line and p.column for p in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_the_smallest_manifest_has_every_default() -> None:
    found = read(SMALLEST)
    assert found.api_version == API_VERSION
    assert found.source_name == "tiny.yaml"
    assert found.model.dtype == "float16"
    assert found.tpu.provisioning == "on-demand"
    assert found.tpu.runtime_version == "v2-alpha-tpuv5-lite"
    assert seconds_of(found.tpu.valid_until) == 6 * 3600
    assert found.lifecycle.ttl_seconds == 8 * 3600
    assert (found.serve.max_input_tokens, found.serve.max_new_tokens) == (1024, 512)
    assert found.serve.stream is None


def test_json_is_read_too() -> None:
    text = '{"apiVersion": "saxflow/v1", "name": "tiny",\n\t"weights": {"source": "gs://my-models/tiny"}}'
    assert read(text, "tiny.json").weights.source == "gs://my-models/tiny"


def test_a_folder_in_the_object_name_does_not_count() -> None:
    assert read(SMALLEST, "team/a/tiny.yml").name == "tiny"


def test_all_problems_at_once_with_their_places() -> None:
    text = """\
apiVersion: saxflow/v2
name: other
weights:
  sha265: {}
  tokenizer:
tpu:
  acceleratorTyp: v5litepod-8
  zones: [us-central1-a, us-central1-a, nowhere]
  provisioning: spto
serve: {stream: yes, maxInputTokens: many, batchSize: 0, maxNewTokens: 1.5}
lifecycle: {ttl: 8}
acceleratorType: x
lifecycle: {}
extra: 1
"""
    assert problems(text) == [
        "1:13: apiVersion: 'saxflow/v2' is none of saxflow/v1; did you mean saxflow/v1?",
        "2:7: name: 'other' differs from the file's name 'tiny'; rename one of them",
        "3:1: weights.source: required, but missing",
        "4:3: weights.sha265: unknown key; did you mean sha256?",
        "5:3: weights.tokenizer: no value; write one, or leave the key out",
        "7:3: tpu.acceleratorTyp: unknown key; did you mean acceleratorType?",
        "8:26: tpu.zones[1]: 'us-central1-a' is given twice; name each zone once",
        "8:41: tpu.zones[2]: 'nowhere' is not a zone, for example us-central1-a",
        "9:17: tpu.provisioning: 'spto' is none of on-demand, spot, reserved; did you mean spot?",
        "10:17: serve.stream: 'yes' is text; true or false belongs here",
        "10:38: serve.maxInputTokens: 'many' is text; a whole number belongs here",
        "10:55: serve.batchSize: 0 is out of range; it must be at least 1",
        "10:72: serve.maxNewTokens: 1.5 is a number; a whole number belongs here",
        "11:18: lifecycle.ttl: 8 is a number; write a number and one of s m h d, for example 8h,"
        " or the word never",
        "12:1: acceleratorType: unknown key here; did you mean tpu.acceleratorType?",
        "13:1: lifecycle: given twice, first on line 11",
        "14:1: extra: unknown key; known here: apiVersion, name, weights, model, checkpoint, tpu,"
        " serve, lifecycle",
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("tpu: []", "4:6: tpu: a list where a mapping"),
        ("tpu: x", "4:6: tpu: 'x' is text; a mapping belongs here"),
        ("tpu: {zones: us-central1-a}", "tpu.zones: 'us-central1-a' is text; a list belongs here"),
        ("tpu: {zones: []}", "tpu.zones: an empty list"),
        ("tpu: {zones: [1]}", "tpu.zones[0]: 1 is a number; text belongs here, put it in quotes"),
        ("tpu: {acceleratorType: v4-8}", "'v4-8' is not v5litepod-1, -4, -8, -16 or -32"),
        ("tpu: {reservation: r}", "tpu.reservation: not used with provisioning: on-demand"),
        ("tpu: {provisioning: reserved}", "4:1: tpu.reservation: required with provisioning"),
        ("serve: {smokeTest: {}}", "4:9: serve.smokeTest.prompt: required"),
        ("serve: {smokeTest: {prompt: ''}}", "serve.smokeTest.prompt: empty text"),
        ("serve: {cell: [a]}", "serve.cell: a list where text belongs"),
        ("serve: {cell: test}", "serve.cell: 'test' is not /sax/NAME"),
        (
            "serve: {batchSize: 1000}",
            "serve.batchSize: 1000 is out of range; it must be at most 256",
        ),
        ("serve: {stream: 1}", "serve.stream: 1 is a number; true or false"),
        ("lifecycle: {maxHourlyCost: 0}", "0 is out of range; it must be greater than 0"),
        ("lifecycle: {maxHourlyCost: .nan}", "'.nan' is text; a number belongs here"),
        ("lifecycle: {maxHourlyCost: true}", "True is true or false; a number belongs here"),
        ("lifecycle: {replace: inplace}", "did you mean inPlace?"),
        ("model: {size: 7}", "model.size: 7 is none of 7b, 13b, 34b, 70b"),
        ("checkpoint: {destination: gs://bucket}", "is not gs://BUCKET/DIRECTORY"),
        ("7: x", "4:1: 7: unknown key"),
    ],
)
def test_single_problems(more: str, said: str) -> None:
    (found,) = problems(f"{SMALLEST}{more}\n")
    assert said in found or said.split(" a list where a mapping")[0] in found


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("{source: 7}", "weights.source: 7 is a number"),
        ("{source: gs://my-models/t, sha256: {a/b: x}}", "weights.sha256.a/b"),
        ("{source: gs://my-models/t, sha256: {params.json: x}}", "64 hexadecimal digits"),
        ("{source: s3://x/y}", "gs://BUCKET/DIRECTORY"),
        ("{source: file:///x}", "is not in Cloud Storage; copy it"),
        ("{source: gs://my-models/t, tokenizer: file:///x}", "is not in Cloud Storage; copy it"),
    ],
)
def test_problems_of_weights(weights: str, said: str) -> None:
    assert any(
        said in found
        for found in problems(f"apiVersion: saxflow/v1\nname: tiny\nweights: {weights}\n")
    )


@pytest.mark.parametrize("text", ["x", "[1]", "7", "true", "null"])
def test_a_manifest_is_a_mapping(text: str) -> None:
    (found,) = problems(text)
    assert "where a mapping" in found


def test_missing_fields_are_told_where_they_belong() -> None:
    assert problems("model: {}\n") == [
        "1:1: apiVersion: required, but missing",
        "1:1: name: required, but missing",
        "1:1: weights: required, but missing",
    ]


def test_a_stem_that_is_no_name() -> None:
    (found,) = problems(SMALLEST, "Tiny.yaml")
    assert "whose stem is no legal name" in found


def test_a_file_that_nobody_would_take_for_a_manifest() -> None:
    (found,) = problems(SMALLEST, "tiny.txt")
    assert found.endswith("'tiny.txt', which would be left alone; name it .yaml, .yml, .json")


def test_yaml_words_are_names_too() -> None:
    assert read(SMALLEST.replace("tiny\nw", "no\nw"), "no.yaml").name == "no"


def test_files_are_legal_with_the_local_cloud() -> None:
    text = SMALLEST.replace("gs://my-models/tiny", "file:///tmp/tiny")
    assert read(text, local=True).weights.source == "file:///tmp/tiny"


def test_ids_ask_for_ids() -> None:
    text = SMALLEST.replace("tiny}", f"tiny, tokenizer: '{IDS_TOKENIZER}'}}")
    assert read(f"{text}serve: {{smokeTest: {{prompt: '3,14'}}}}\n").serve.smoke_test
    (found,) = problems(f"{text}serve: {{smokeTest: {{prompt: hello}}}}\n")
    assert "is no list of ids" in found


def test_fields_know_their_place() -> None:
    found = read(SMALLEST + "tpu:\n  zones: [us-central1-a]\n")
    assert found.problem("tpu.zones[0]", "m") == Problem("tpu.zones[0]", "m", 5, 11)
    assert found.problem("tpu.acceleratorType", "m") == Problem("tpu.acceleratorType", "m")


def test_a_flood_of_problems_is_cut_and_counted() -> None:
    found = problems(SMALLEST + "".join(f"k{n}: 1\n" for n in range(150)))
    assert len(found) == 101
    assert found[-1] == "104:1: 50 more problems from here on; is this a manifest?"


KEYS = [
    "apiVersion",
    "name",
    "weights",
    "source",
    "sha256",
    "tpu",
    "zones",
    "serve",
    "smokeTest",
    "<<",
    "a.b",
]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@given(anything)
def test_any_document_is_read_or_refused_with_places(document: Any) -> None:
    try:
        parse(json.dumps(document).encode(), source_name="tiny.json")
    except ManifestError as error:
        refused = error.problems
    assert all(problem.line and problem.column for problem in refused)
