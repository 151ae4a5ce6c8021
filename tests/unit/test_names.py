"""Names and ids are legal everywhere they are used, and can be read back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow import names
from saxflow.errors import InputError

legal_names = st.from_regex(names.NAME_PATTERN, fullmatch=True)
generations = st.integers(min_value=1, max_value=2**63 - 1).map(str)
attempts = st.integers(min_value=1, max_value=9999)


@given(st.integers(min_value=0, max_value=2**80))
def test_base36_reads_back(number: int) -> None:
    assert names.from_base36(names.to_base36(number)) == number


@given(legal_names, generations, attempts)
def test_ids_fit_every_service_and_read_back(name: str, generation: str, attempt: int) -> None:
    identifier = names.deployment_id(name, generation, attempt)
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", identifier)
    assert names.parse_deployment_id(identifier) == (name, generation, attempt)


@given(legal_names)
def test_defaults_are_legal_for_sax(name: str) -> None:
    assert re.fullmatch(names.SAX_MODEL_PATTERN, names.default_model(name))
    assert re.fullmatch(r"(/|\d|\w|_|\.|-|%|:|=|\|)+", names.default_directory(name))


@pytest.mark.parametrize("name", ["a", "llama2-7b", "x" * 30, "a1"])
def test_legal_names(name: str) -> None:
    assert names.is_deployment_name(name)


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "7b", "Llama", "a_b", "x" * 31, "a\n", "ü", "a.b", "-"]
)
def test_illegal_names(name: str) -> None:
    assert not names.is_deployment_name(name)


@pytest.mark.parametrize(
    "identifier", ["", "sf-", "sf-a-b", "a-1-a1", "sf-a-1-1", "sf-A-1-a1", "sf-a-1-ax", "sf-a--a1"]
)
def test_foreign_ids_are_refused(identifier: str) -> None:
    with pytest.raises(InputError):
        names.parse_deployment_id(identifier)


@pytest.mark.parametrize("generation", ["", "-1", "1.0", "x", "²"])
def test_generations_are_decimal(generation: str) -> None:
    with pytest.raises(InputError):
        names.generation36(generation)


def test_negative_numbers_have_no_base36() -> None:
    with pytest.raises(InputError):
        names.to_base36(-1)


@pytest.mark.parametrize("text", ["", "-1", "A", "ü"])
def test_foreign_base36_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        names.from_base36(text)


def test_stems() -> None:
    assert names.stem_of("team/llama2-7b.yaml") == "llama2-7b"
    assert names.stem_of("llama.v2.json") == "llama.v2"
    assert names.stem_of("README") == "README"
    assert [names.is_manifest(n) for n in ("a.yaml", "a.yml", "a.json", "a.txt", "a.YAML")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_places() -> None:
    assert names.head_object("a") == "deployments/a/head.json"
    assert names.plan_prefix("a", "36") == "deployments/a/36/"
    assert names.events_prefix("a", "36") == "deployments/a/36/events/"
    assert names.events_prefix(names.NO_DEPLOYMENT, "36") == "rejected/36/"
    assert names.attempt_root("a", "36", 2) == "a/10-a2"
