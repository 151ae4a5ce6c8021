"""From names to models: what is looked up, believed, refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from saxflow.errors import (
    CloudError,
    InputError,
    IntegrityError,
    NotFoundError,
    RequestError,
    TransientError,
)
from saxflow.head import Attempt, Head
from saxflow.sax.names import ModelName
from saxflow.serving.deployments import Deployments

ADDRESS = "127.0.0.1:1"


def test_a_deployment_by_its_name(deployments: Deployments, installation: Any) -> None:
    root = installation.deploy("llama", ADDRESS, max_new_tokens=9)
    target = deployments.find("llama")
    assert (target.deployment, target.sax_root, target.created) == ("llama", root, 1000)
    assert target.model == ModelName.parse("/sax/test/story")
    assert target.servable.max_new_tokens == 9


def test_a_deployment_by_its_sax_name(deployments: Deployments, installation: Any) -> None:
    installation.deploy("llama", ADDRESS, "/sax/test/one")
    installation.deploy("other", ADDRESS, "/sax/test/two")
    assert deployments.find("/sax/test/two").deployment == "other"


@pytest.mark.parametrize(
    "name", ["", "nobody", "No Name", "été", "a" * 5000, "../llama", "llama/7", "\0"]
)
def test_names_that_are_no_deployment(
    deployments: Deployments, installation: Any, name: str
) -> None:
    installation.deploy("llama", ADDRESS)
    with pytest.raises(NotFoundError) as caught:
        deployments.find(name)
    assert str(caught.value) == f"there is no deployment {name!r}; `saxflow status` lists them"


@pytest.mark.parametrize(
    "name", ["/", "/sax", "/sax/test", "/sax/Test/story", "/sax/test/été", "//"]
)
def test_sax_names_that_are_none(deployments: Deployments, installation: Any, name: str) -> None:
    with pytest.raises(InputError):
        deployments.find(name)


def test_a_sax_name_that_nobody_serves(deployments: Deployments, installation: Any) -> None:
    installation.deploy("llama", ADDRESS)
    with pytest.raises(NotFoundError) as caught:
        deployments.find("/sax/test/none")
    assert str(caught.value) == (
        "no deployment serves /sax/test/none; GET /v1/models lists what there is"
    )


def test_a_sax_name_that_several_serve(deployments: Deployments, installation: Any) -> None:
    for name in ("one", "two"):
        installation.deploy(name, ADDRESS)
    with pytest.raises(RequestError) as caught:
        deployments.find("/sax/test/story")
    assert str(caught.value) == (
        "/sax/test/story is served by several deployments (one, two); name the deployment"
    )
    assert (caught.value.param, caught.value.code, caught.value.status) == (
        "model",
        "ambiguous_model",
        400,
    )


@pytest.mark.parametrize(
    ("head", "kind", "words"),
    [
        (Head("d", desired="7"), TransientError, r"d does not serve yet \(accepted\); `saxflow watch d`"),
        (Head("d", desired="7", candidate=Attempt("7", 1)), TransientError, r"\(accepted\)"),
        (Head("d", desired="7", candidate=Attempt("7", 1, phase="tpu.waiting")), TransientError, r"\(tpu\.waiting\)"),
        (Head("d", tombstone="7"), NotFoundError, "deployment d was deleted"),
    ],
)  # fmt: skip
def test_what_does_not_serve(
    deployments: Deployments, installation: Any, head: Head, kind: type[Exception], words: str
) -> None:
    installation.head(head)
    with pytest.raises(kind, match=words):
        deployments.find("d")
    assert deployments.all() == []


def test_what_is_believed_for_how_long(installation: Any) -> None:
    now = [0.0]
    deployments = Deployments(installation.wiring, believe_seconds=5, clock=lambda: now[0])
    assert deployments.known("llama") is None
    old = installation.deploy("llama", ADDRESS)
    target = deployments.find("llama")
    looks = installation.looks
    new = installation.deploy("llama", ADDRESS)
    now[0] = 4.999
    assert deployments.find("llama") is deployments.known("llama") is target
    assert (installation.looks, target.sax_root) == (looks, old)
    now[0] = 5.0
    assert deployments.known("llama") is None
    assert deployments.known("llama", stale=True) is target
    assert deployments.find("llama").sax_root == new
    newest = installation.deploy("llama", ADDRESS)
    assert deployments.find("llama", fresh=True).sax_root == newest
    assert deployments.find("llama").sax_root == newest


def test_whose_cell_is_still_named(deployments: Deployments, installation: Any) -> None:
    installation.deploy("llama", ADDRESS)
    old = deployments.find("llama")
    deployments.find("/sax/test/story")
    assert deployments.believes(old)
    installation.deploy("llama", ADDRESS)
    deployments.find("llama")
    assert deployments.believes(old), "the other name still leads there"
    deployments.find("/sax/test/story")
    assert not deployments.believes(old)


def test_what_went_is_not_believed_any_more(deployments: Deployments, installation: Any) -> None:
    installation.deploy("llama", ADDRESS)
    deployments.find("llama")
    installation.head(Head("llama", tombstone="7"))
    with pytest.raises(NotFoundError, match="was deleted"):
        deployments.find("llama")
    assert deployments.known("llama", stale=True) is None


def test_what_was_known_survives_an_outage(deployments: Deployments, installation: Any) -> None:
    installation.deploy("llama", ADDRESS)
    target = deployments.find("llama")
    installation.faults.arm("storage", "objects.get", "return-403", count=None)
    with pytest.raises(CloudError):
        deployments.find("llama")
    assert deployments.known("llama", stale=True) is target


def test_a_servable_is_read_once_for_a_generation(
    deployments: Deployments, installation: Any
) -> None:
    installation.deploy("llama", ADDRESS, max_new_tokens=5)
    assert deployments.find("llama").servable.max_new_tokens == 5
    installation.deploy("llama", ADDRESS, max_new_tokens=6)
    assert deployments.find("llama").servable.max_new_tokens == 5
    installation.deploy("llama", ADDRESS, generation="8", max_new_tokens=7)
    assert deployments.find("llama").servable.max_new_tokens == 7


@pytest.mark.parametrize("part", [b"", b"{", b"[]", b"{}", b'{"vocab": "many"}', b"\xff"])
def test_a_broken_plan_is_not_the_clients_fault(
    deployments: Deployments, installation: Any, part: bytes
) -> None:
    installation.deploy("llama", ADDRESS)
    installation.put("deployments/llama/7/servable.json", part)
    with pytest.raises(IntegrityError) as caught:
        deployments.find("llama")
    assert "gs://control/deployments/llama/7/servable.json" in str(caught.value)


def test_a_plan_that_is_gone_is_not_a_model_that_is_unknown(
    deployments: Deployments, installation: Any
) -> None:
    installation.deploy("llama", ADDRESS)
    installation.server.store.delete("control", "deployments/llama/7/servable.json")
    with pytest.raises(IntegrityError, match=r"gs://control/deployments/llama/7/servable\.json"):
        deployments.find("llama")


def test_all_leaves_out_what_is_broken_and_says_so(
    deployments: Deployments, installation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b", "a", "broken-plan", "no-plan", "broken-head", "broken-name"):
        installation.deploy(name, ADDRESS, "/sax/Test" if name == "broken-name" else "/sax/test/m")
    installation.put("deployments/broken-plan/7/servable.json", b"{}")
    installation.server.store.delete("control", "deployments/no-plan/7/servable.json")
    installation.put("deployments/broken-head/head.json", b"[")
    installation.put("deployments/a/7/other.json", b"{}")
    installation.head(Head("waits", desired="7"))
    with caplog.at_level(logging.WARNING):
        assert [target.deployment for target in deployments.all()] == ["a", "b"]
    for name in ("broken-plan", "no-plan", "broken-head", "broken-name"):
        assert f"deployment {name} is left out: " in caplog.text
