"""Facts about weights are read from Cloud Storage; what the user can mend is told as such."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saxflow.errors import InputError, WeightsError
from saxflow.gcp.clients import storage_client
from saxflow.gcp.objects import Objects, Uri
from saxflow.manifest import parse
from saxflow.pipeline.weight_facts import MAX_DOCUMENT_BYTES, gather
from saxflow.plan import WeightFacts


@pytest.fixture
def objects(golden_weights: None) -> Iterator[Objects]:
    client = storage_client("proj")
    yield Objects(client)
    client.close()


@pytest.fixture
def facts(objects: Objects) -> Callable[..., WeightFacts]:
    def look(source: str = "gs://models/tiny", tokenizer: str = "") -> WeightFacts:
        more = f", tokenizer: '{tokenizer}'" if tokenizer else ""
        text = f"apiVersion: saxflow/v1\nname: a\nweights: {{source: '{source}'{more}}}\n"
        return gather(objects, parse(text.encode(), source_name="a.yaml", allow_file_sources=True))

    return look


def test_the_golden_weights(facts: Callable[..., WeightFacts]) -> None:
    found = facts()
    assert found.dimensions.vocab == 320
    assert found.tokenizer_uri == "gs://models/tokenizer.model"
    assert [file.name for file in found.files][-1] == "params.json"
    assert all(file.digest and file.generation for file in found.files)


def test_a_slash_at_the_end_changes_nothing(facts: Callable[..., WeightFacts]) -> None:
    assert facts("gs://models/tiny/") == facts()


def test_a_tokenizer_beside_the_weights_comes_first(
    facts: Callable[..., WeightFacts], objects: Objects, golden: Path
) -> None:
    data = (golden / "tiny320.model").read_bytes()
    objects.write(Uri("models", "tiny/tokenizer.model"), data, if_generation="0")
    assert facts().tokenizer_uri == "gs://models/tiny/tokenizer.model"


@pytest.mark.parametrize(
    ("source", "tokenizer", "said"),
    [
        ("gs://nowhere/tiny", "", "cannot be read: .*roles/storage.objectViewer"),
        ("gs://models/empty", "", "holds no consolidated.NN.pth"),
        ("gs://models/tiny", "gs://models/none.model", "no tokenizer at gs://models/none.model"),
        ("gs://models/tiny", "gs://models/tiny/params.json", "no sentencepiece model"),
        ("gs://models/tiny", "ids:", "no tokenizer.model to count"),
        ("file:///tmp/tiny", "", "is not in Cloud Storage"),
    ],
)
def test_what_the_user_can_mend(
    facts: Callable[..., WeightFacts], source: str, tokenizer: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        facts(source, tokenizer)


def test_documents_that_are_too_large_are_not_read(
    facts: Callable[..., WeightFacts], objects: Objects
) -> None:
    huge = bytes(MAX_DOCUMENT_BYTES + 1)
    objects.write(Uri("models", "huge.model"), huge, if_generation="0")
    with pytest.raises(WeightsError, match="too many for what it is named to be"):
        facts(tokenizer="gs://models/huge.model")
