"""`saxflow sax` against a peer of bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.sax import messages as m

WATCH = "/sax.Admin/WatchLoc"
GENERATE = "/sax.server.lm.LMService/Generate"
STREAM = "/sax.server.lm.LMService/GenerateStream"
LLAMA = "/sax/test/llama"
MODEL = m.Model(
    model_id=LLAMA,
    model_path="a.Llama",
    checkpoint_path="gs://b/checkpoint_00000000",
    requested_num_replicas=1,
    overrides={"A": "1"},
)


@pytest.fixture
def saxflow(
    peer: Any, wait: Any, announce: Any, capsys: Any
) -> Callable[..., tuple[int, str, str]]:
    """Run a command of `saxflow sax` on the peer's cell; return exit code, stdout, stderr."""
    location = m.WatchLocResponse(
        admin_server_id="a",
        result=m.WatchResult(
            next_seqno=1, changelog=[m.WatchResult.Mutation(addition=peer.address)]
        ),
    )
    root = announce(peer.address)

    def command(*arguments: str) -> tuple[int, str, str]:
        peer.answers[WATCH] = [location.SerializeToString(), wait()]
        code = run(app, ["sax", *arguments, "--sax-root", root])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def listed() -> bytes:
    published = m.PublishedModel(model=MODEL, modelet_addresses=["h:1"])
    return m.ListResponse(published_models=[published]).SerializeToString()


def item(text: str, prefix_len: int) -> bytes:
    piece = m.GenerateStreamItem(text=text, prefix_len=prefix_len, scores=[-1.5])
    return m.GenerateStreamResponse(items=[piece]).SerializeToString()


def test_ls(saxflow: Any, peer: Any) -> None:
    peer.answers["/sax.Admin/List"] = [listed()]
    code, out, _ = saxflow("ls")
    assert code == 0
    header, row = out.splitlines()
    assert header.split() == ["MODEL", "PATH", "CHECKPOINT", "REPLICAS", "ADDRESSES"]
    assert row.split() == [LLAMA, "a.Llama", "gs://b/checkpoint_00000000", "1/1", "h:1"]
    code, out, _ = saxflow("ls", LLAMA, "--json")
    assert json.loads(out)["models"] == [
        {
            "model_id": LLAMA,
            "model_path": "a.Llama",
            "checkpoint": "gs://b/checkpoint_00000000",
            "replicas": 1,
            "overrides": {"A": "1"},
            "addresses": ["h:1"],
        }
    ]
    assert m.ListRequest.FromString(peer.calls("/sax.Admin/List")[1]).model_id == LLAMA


def test_a_model_of_the_usual_cell_needs_no_more_than_its_name(saxflow: Any, peer: Any) -> None:
    peer.answers["/sax.Admin/List"] = [listed()]
    peer.answers["/sax.Admin/Unpublish"] = [b""]
    peer.answers[STREAM] = [[item("so", 0)]]
    assert saxflow("ls", "llama")[0] == 0
    assert m.ListRequest.FromString(peer.calls("/sax.Admin/List")[0]).model_id == LLAMA
    assert saxflow("generate", "llama", "Hi")[:2] == (0, "so\n")
    assert m.GenerateRequest.FromString(peer.calls(STREAM)[0]).model_key == LLAMA
    assert json.loads(saxflow("unpublish", "llama", "--json")[1]) == {"model_id": LLAMA}
    code, _, err = saxflow("generate", "test/llama", "Hi")
    assert code == 3
    assert "/sax/<cell>/<model>" in err


def test_a_missing_root_names_the_variable(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("SAX_ROOT", raising=False)
    assert run(app, ["sax", "ls"]) == 2
    assert "SAX_ROOT" in capsys.readouterr().err


def test_ls_of_nothing(saxflow: Any, peer: Any, refusal: Any) -> None:
    text = "model {test llama} not found: rpc error: code = NotFound desc = NotFound"
    peer.answers["/sax.Admin/List"] = [refusal(grpc.StatusCode.UNKNOWN, text)]
    code, out, err = saxflow("ls", LLAMA, "--json")
    assert code == 4
    assert json.loads(out)["exit_code"] == 4
    assert "not found" in err


def test_publish_update_unpublish(saxflow: Any, peer: Any) -> None:
    for name in ("Publish", "Update", "Unpublish"):
        peer.answers[f"/sax.Admin/{name}"] = [b""]
    peer.answers["/sax.Admin/List"] = [listed()]
    code, out, _ = saxflow(
        "publish", LLAMA, "a.Llama", "gs://b/checkpoint_00000000", "1", "--override", "A=1"
    )
    assert (code, "is published" in out) == (0, True)
    published = m.PublishRequest.FromString(peer.calls("/sax.Admin/Publish")[0])
    assert published.model == MODEL
    code, out, _ = saxflow("update", LLAMA, "--replicas", "2", "--override", "B=[2]", "--json")
    assert json.loads(out)["replicas"] == 2
    updated = m.UpdateRequest.FromString(peer.calls("/sax.Admin/Update")[0]).model
    assert dict(updated.overrides) == {"A": "1", "B": "[2]"}
    code, out, _ = saxflow("unpublish", LLAMA, "--json")
    assert (code, json.loads(out)) == (0, {"model_id": LLAMA})


def test_stats(saxflow: Any, peer: Any) -> None:
    stat = m.ModelServerTypeStat(chip_type=15, chip_topology=23, num_replicas=2)
    peer.answers["/sax.Admin/Stats"] = [
        m.StatsResponse(model_server_type_stats=[stat]).SerializeToString()
    ]
    assert saxflow("stats")[1].split() == ["CHIP", "TOPOLOGY", "SERVERS", "TPU_V5E", "4", "2"]
    servers = json.loads(saxflow("stats", "--json")[1])["servers"]
    assert servers == [{"chip_type": "TPU_V5E", "chip_topology": "4", "replicas": 2}]


def test_generate_as_it_comes(saxflow: Any, peer: Any) -> None:
    peer.answers[STREAM] = [[item("é ", 0), item("😀\ufffd", 2), item("語", 3)]]
    code, out, _ = saxflow(
        "generate", LLAMA, "Hi", "--max-tokens", "7", "--temperature", "0", "--extra", "seed:3"
    )
    assert (code, out) == (0, "é 😀語\n")
    sent = m.GenerateRequest.FromString(peer.calls(STREAM)[0])
    assert dict(sent.extra_inputs.items) == {
        "per_example_max_decode_steps": 7.0,
        "temperature": 0.0,
        "seed": 3.0,
    }
    lines = [
        json.loads(line) for line in saxflow("generate", LLAMA, "Hi", "--json")[1].splitlines()
    ]
    assert [line["piece"] for line in lines[:-1]] == ["é ", "😀", "語"]
    assert lines[-1] == {"model": LLAMA, "samples": [{"text": "é 😀語", "score": -1.5}]}


def test_generate_at_once(saxflow: Any, peer: Any) -> None:
    texts = [m.DecodedText(text="a", score=-1.0), m.DecodedText(text="b", score=-2.0)]
    peer.answers[GENERATE] = [m.GenerateResponse(texts=texts).SerializeToString()]
    assert saxflow("generate", LLAMA, "Hi", "--no-stream")[1] == "a\nb\n"
    out = saxflow("generate", LLAMA, "Hi", "--no-stream", "--json")[1]
    assert len(json.loads(out)["samples"]) == 2


def test_score(saxflow: Any, peer: Any) -> None:
    peer.answers["/sax.server.lm.LMService/Score"] = [
        m.ScoreResponse(logp=[-1.25]).SerializeToString()
    ]
    assert saxflow("score", LLAMA, "a", "b")[1].split() == ["SCORE", "SUFFIX", "-1.250000", "b"]
    assert json.loads(saxflow("score", LLAMA, "a", "b", "--json")[1])["scores"] == [-1.25]


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", LLAMA, "Hi", "--extra", "seed"],
        ["generate", LLAMA, "Hi", "--extra", "seed:x"],
        ["generate", LLAMA, "Hi", "--extra", ":1"],
        ["publish", LLAMA, "a.B", "/x", "--override", "A"],
        ["score", LLAMA, "a"],
    ],
)
def test_usage(saxflow: Any, arguments: list[str]) -> None:
    assert saxflow(*arguments)[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "test/llama"],
        ["publish", LLAMA, "a B", "/x"],
        ["publish", LLAMA, "a.B", "/x", "--override", "A=x"],
    ],
)
def test_bad_input(saxflow: Any, arguments: list[str]) -> None:
    assert saxflow(*arguments)[0] == 3


def test_a_cell_that_is_not_there(tmp_path: Any, capsys: Any) -> None:
    assert run(app, ["sax", "ls", "--sax-root", str(tmp_path)]) == 4
    assert "there is no cell /sax/test" in capsys.readouterr().err
