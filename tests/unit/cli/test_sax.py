"""`saxflow sax`: arguments, words, JSON and exit codes; the wire is tested in tests/contract/sax."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import grpc
import pytest

from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.cli.sax import extra_inputs, show_piece
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.handlers import generic_handlers

LLAMA = "/sax/test/llama"
STEP = "gs://b/checkpoint_00000000"
MODEL = m.Model(
    model_id=LLAMA,
    model_path="a.Llama",
    checkpoint_path=STEP,
    requested_num_replicas=3,
    overrides={"A": "1", "B": '"b"'},
)
Answer = tuple[int, str, str]


@dataclass
class Cell:
    """Admin and model server in one.

    Args:
        replies: method -> what it answers; a function is called with the context.
        asked: requests by method.
    """

    replies: dict[Any, Any] = field(default_factory=dict)
    asked: dict[Any, list[Any]] = field(default_factory=dict)

    def behavior(self, method: Any) -> Callable[[Any, Any], Any]:
        def answer(request: Any, context: Any) -> Any:
            self.asked.setdefault(method, []).append(request)
            reply = self.replies.get(method, method.reply())
            return reply(context) if callable(reply) else reply

        def stream(request: Any, context: Any) -> Any:
            yield from answer(request, context)

        return stream if method.streams else answer


@pytest.fixture
def cell(tmp_path: Path) -> Generator[Cell]:
    started = Cell()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    behaviors = {method: started.behavior(method) for method in methods.ALL}
    server.add_generic_rpc_handlers(generic_handlers(behaviors))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    change = m.WatchResult.Mutation(addition=address)
    started.replies[methods.WATCH_LOC] = m.WatchLocResponse(
        admin_server_id="a", result=m.WatchResult(next_seqno=1, changelog=[change])
    )
    folder = tmp_path / "root/sax/test"
    folder.mkdir(parents=True)
    location = m.Location(location=address).SerializeToString()
    (folder / "location.proto").write_bytes(location)
    yield started
    server.stop(0).wait()


@pytest.fixture
def sax(tmp_path: Path, capsys: Any) -> Callable[..., Answer]:
    """Run `saxflow sax`; return exit code, stdout, stderr."""

    def command(*arguments: str) -> Answer:
        name, *rest = arguments
        code = run(app, ["sax", name, "--sax-root", str(tmp_path / "root"), *rest])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def as_json(sax: Any) -> Callable[..., list[Any]]:
    """Run a command that succeeds, with --json; return its lines, parsed."""

    def command(*arguments: str) -> list[Any]:
        code, out, err = sax(*arguments, "--json")
        assert (code, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    return command


def refuse(code: str, words: str = "its words") -> Callable[[Any], Any]:
    return lambda context: context.abort(grpc.StatusCode[code], words)


def listed(*models: m.Model, addresses: tuple[str, ...] = ()) -> m.ListResponse:
    published = [m.PublishedModel(model=one, modelet_addresses=addresses) for one in models]
    return m.ListResponse(published_models=published)


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ([], {}),
        (["seed:3"], {"seed": 3.0}),
        (["top_p:.95", "k:-1e3"], {"top_p": 0.95, "k": -1000.0}),
        (["a:b:1"], {"a:b": 1.0}),
        (["été:1"], {"été": 1.0}),
        (["a:1", "a:2"], {"a": 2.0}),
    ],
)
def test_extra_inputs(given: list[str], inputs: dict[str, float]) -> None:
    assert extra_inputs(given, None) == inputs


def test_the_temperature_is_an_extra_input_and_the_option_counts() -> None:
    assert extra_inputs([], 0.0) == {"temperature": 0.0}
    assert extra_inputs(["temperature:1"], 0.5) == {"temperature": 0.5}


@pytest.mark.parametrize("text", ["", "seed", ":", ":1", "seed:", "seed:x", "seed:1,2", "1"])
def test_what_is_no_extra_input(text: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        extra_inputs(["a:1", text], None)
    assert caught.value.format_message() == (
        f"Invalid value for --extra: {text!r} is not KEY:VALUE with a number"
    )


def test_pieces(capsys: Any) -> None:
    for as_json in (False, True):
        for piece in ("", "été\n", "😀"):
            show_piece(piece, as_json=as_json)
    assert capsys.readouterr().out == 'été\n😀{"piece": "été\\n"}\n{"piece": "😀"}\n'


def test_ls_without_models(sax: Any, as_json: Any, cell: Cell) -> None:
    assert sax("ls") == (0, "MODEL  PATH  CHECKPOINT  REPLICAS  ADDRESSES\n", "")
    assert as_json("ls", "/sax/test") == [{"models": []}]
    assert [request.model_id for request in cell.asked[methods.LIST]] == ["", ""]


def test_ls_aligns_its_columns(sax: Any, cell: Cell) -> None:
    other = m.Model(model_id="/sax/test/a", model_path="b", checkpoint_path="None")
    cell.replies[methods.LIST] = listed(MODEL, other, addresses=("h:1", "h:2"))
    _, out, _ = sax("ls")
    lines = out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["/sax/test/a", "b", "None", "2/0", "h:1", "h:2"],
        [LLAMA, "a.Llama", STEP, "2/3", "h:1", "h:2"],
    ]
    assert (
        len({line.index(start) for line, start in zip(lines, ("PATH", "b ", "a.Ll"), strict=True)})
        == 1
    )
    assert all(line == line.rstrip() for line in lines)


def test_ls_of_one_model_as_json(as_json: Any, cell: Cell) -> None:
    cell.replies[methods.LIST] = listed(MODEL, addresses=("h:1",))
    assert as_json("ls", LLAMA) == [
        {
            "models": [
                {
                    "model_id": LLAMA,
                    "model_path": "a.Llama",
                    "checkpoint": STEP,
                    "replicas": 3,
                    "overrides": {"A": "1", "B": '"b"'},
                    "addresses": ["h:1"],
                }
            ]
        }
    ]
    assert cell.asked[methods.LIST][0].model_id == LLAMA


@pytest.mark.parametrize("command", ["ls", "stats"])
@pytest.mark.parametrize("name", ["/sax/test/", "/sax/test/a/b", "/sax/test/llama/", "/sax/test/É"])
def test_what_is_neither_cell_nor_model_is_refused(
    sax: Any, cell: Cell, command: str, name: str
) -> None:
    code, out, err = sax(command, name)
    assert (code, out) == (3, "")
    assert err.startswith(f"saxflow: {name!r} is no SAX model ID; write /sax/<cell>/<model>")
    assert cell.asked == {}


@pytest.mark.parametrize("name", ["", "Llama", "été"])
def test_a_bare_name_is_a_model_of_the_usual_cell(sax: Any, cell: Cell, name: str) -> None:
    sax("ls", "llama")
    assert cell.asked[methods.LIST][0].model_id == LLAMA
    code, _, err = sax("ls", name)
    assert code == 3
    assert f"'/sax/test/{name}' is no SAX model ID; write /sax/<cell>/<model>" in err


@pytest.mark.parametrize("name", ["/", "/sax", "sax/test", "/sax/Test", "//", "/sex/test"])
def test_what_is_no_cell_is_refused(sax: Any, cell: Cell, name: str) -> None:
    code, _, err = sax("ls", name)
    assert code == 3
    assert f"{name!r} is no SAX " in err
    assert cell.asked == {}


def test_publish(sax: Any, as_json: Any, cell: Cell) -> None:
    arguments = ("publish", LLAMA, "a.Llama", STEP)
    assert sax(*arguments) == (0, f"{LLAMA} is published; loading may take minutes\n", "")
    assert as_json(*arguments, "3", "--override", "A=1", "--override", 'B="b"') == [
        {
            "model_id": LLAMA,
            "model_path": "a.Llama",
            "checkpoint": STEP,
            "replicas": 3,
            "overrides": {"A": "1", "B": '"b"'},
        }
    ]
    first, second = cell.asked[methods.PUBLISH]
    assert (first.model.requested_num_replicas, dict(first.model.overrides)) == (1, {})
    assert second.model == MODEL


def test_an_overrides_value_may_hold_the_sign(sax: Any, cell: Cell) -> None:
    sax("publish", LLAMA, "a.Llama", STEP, "--override", 'A="x=y"')
    assert dict(cell.asked[methods.PUBLISH][0].model.overrides) == {"A": '"x=y"'}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/sax/test", "a.B", "/x"], "'/sax/test' is no SAX model ID"),
        ([LLAMA, "a B", "/x"], "'a B' is no SAX model path; write the class's dotted path"),
        ([LLAMA, "a.B", "/x y"], "checkpoint path '/x y' is not legal in SAX; letters, digits"),
        (
            [LLAMA, "a.B", "/x", "2147483648"],
            "replicas is 2147483648; a number from 0 to 2147483647",
        ),
        ([LLAMA, "a.B", "/x", "--override", "A="], "override A is ''; SAX takes JSON"),
        ([LLAMA, "a.B", "/x", "--override", "A=x"], "override A is 'x'; SAX takes JSON"),
        ([LLAMA, "a.B", "/x", "--override", '\udcff="x"'], "override cannot be sent: character 1"),
    ],
)
def test_publish_of_what_no_admin_would_take(
    sax: Any, cell: Cell, arguments: list[str], said: str
) -> None:
    code, out, err = sax("publish", *arguments, "--json")
    assert code == 3
    assert said in err
    assert json.loads(out)["exit_code"] == 3
    assert cell.asked == {}


def test_update_keeps_what_is_not_given(sax: Any, as_json: Any, cell: Cell) -> None:
    cell.replies[methods.LIST] = listed(MODEL)
    assert sax("update", LLAMA, "--override", "B=2") == (0, f"{LLAMA} is updated\n", "")
    (printed,) = as_json("update", LLAMA, "--replicas", "0")
    assert (printed["replicas"], printed["overrides"]) == (0, {"A": "1", "B": '"b"'})
    first, second = (request.model for request in cell.asked[methods.UPDATE])
    assert (first.requested_num_replicas, dict(first.overrides)) == (3, {"A": "1", "B": "2"})
    assert second.requested_num_replicas == 0
    assert {first.checkpoint_path, second.checkpoint_path} == {STEP}


@pytest.mark.parametrize("count", [0, 2])
def test_update_when_the_admin_does_not_list_the_one_model(
    sax: Any, cell: Cell, count: int
) -> None:
    cell.replies[methods.LIST] = listed(*[MODEL] * count)
    code, out, err = sax("update", LLAMA, "--replicas", "1")
    assert (code, out) == (1, "")
    assert err == (f"saxflow: the admin lists {count} models under {LLAMA}; one was expected\n")
    assert methods.UPDATE not in cell.asked


def test_unpublish(sax: Any, as_json: Any, cell: Cell) -> None:
    assert sax("unpublish", LLAMA) == (0, f"{LLAMA} is unpublished\n", "")
    assert as_json("unpublish", LLAMA) == [{"model_id": LLAMA}]
    assert cell.asked[methods.UNPUBLISH][0].model_id == LLAMA


def test_stats(sax: Any, as_json: Any, cell: Cell) -> None:
    assert sax("stats") == (0, "CHIP  TOPOLOGY  SERVERS\n", "")
    stat = m.ModelServerTypeStat(chip_type=1, chip_topology=1, num_replicas=12)
    cell.replies[methods.STATS] = m.StatsResponse(model_server_type_stats=[stat])
    _, out, _ = sax("stats", LLAMA)
    (printed,) = as_json("stats")
    (kind,) = printed["servers"]
    assert out.splitlines()[1].split() == [kind["chip_type"], kind["chip_topology"], "12"]
    assert [request.model_id for request in cell.asked[methods.STATS]] == ["", LLAMA, ""]


def grown(*texts: str) -> list[m.GenerateStreamResponse]:
    items = [m.GenerateStreamItem(text=text, scores=[-1.5]) for text in texts]
    return [m.GenerateStreamResponse(items=[item]) for item in items]


def test_generate_shows_the_text_as_it_grows(sax: Any, as_json: Any, cell: Cell) -> None:
    cell.replies[methods.GENERATE_STREAM] = grown("é", "é 😀", "é 😀\ufffd", "é 😀語\n")
    assert sax("generate", LLAMA, "Hi") == (0, "é 😀語\n\n", "")
    *pieces, last = as_json("generate", LLAMA, "Hi")
    assert "".join(piece["piece"] for piece in pieces) == "é 😀語\n"
    assert [len(piece) for piece in pieces] == [1] * len(pieces)
    assert last == {"model": LLAMA, "samples": [{"text": "é 😀語\n", "score": -1.5}]}


def test_generate_of_nothing(sax: Any, as_json: Any, cell: Cell) -> None:
    for replies in ([], [m.GenerateStreamResponse()]):
        cell.replies[methods.GENERATE_STREAM] = replies
        assert sax("generate", LLAMA, "Hi") == (0, "\n", "")
        assert as_json("generate", LLAMA, "Hi") == [{"model": LLAMA, "samples": []}]
    assert sax("generate", LLAMA, "", "--no-stream") == (0, "", "")


def test_generate_at_once_shows_every_sample(sax: Any, as_json: Any, cell: Cell) -> None:
    texts = [m.DecodedText(text="b", score=-2.0), m.DecodedText(text="a", score=-1.0)]
    cell.replies[methods.GENERATE] = m.GenerateResponse(texts=texts)
    assert sax("generate", LLAMA, "Hi", "--no-stream") == (0, "b\na\n", "")
    samples = [{"text": "b", "score": -2.0}, {"text": "a", "score": -1.0}]
    assert as_json("generate", LLAMA, "Hi", "--no-stream") == [{"model": LLAMA, "samples": samples}]


def test_generate_sends_what_options_say(sax: Any, cell: Cell) -> None:
    sax(
        "generate", LLAMA, "Hi", "--no-stream", "--max-tokens", str(2**24), "--extra",
        "per_example_max_decode_steps:9", "--extra", "seed:1", "--temperature", "0",
    )  # fmt: skip
    (request,) = cell.asked[methods.GENERATE]
    assert (request.model_key, request.text) == (LLAMA, "Hi")
    assert dict(request.extra_inputs.items) == {
        "per_example_max_decode_steps": 2.0**24,
        "seed": 1.0,
        "temperature": 0.0,
    }


def test_a_stream_that_breaks_off(sax: Any, cell: Cell) -> None:
    def broken(context: Any) -> Any:
        yield from grown("Once")
        context.abort(grpc.StatusCode.INTERNAL, "the server fell over")

    cell.replies[methods.GENERATE_STREAM] = broken
    code, out, err = sax("generate", LLAMA, "Hi", "--json")
    piece, failure = map(json.loads, out.splitlines())
    assert (code, piece) == (1, {"piece": "Once"})
    assert failure["exit_code"] == 1
    assert failure["error"].endswith("the server fell over")
    assert err == f"saxflow: {failure['error']}\n"


def test_a_stream_that_takes_back_what_was_shown(sax: Any, cell: Cell) -> None:
    cell.replies[methods.GENERATE_STREAM] = grown("Once", "Twice")
    code, out, err = sax("generate", LLAMA, "Hi")
    assert (code, out) == (1, "Once")
    assert err == "saxflow: the model server took back some of 4 characters\n"


def test_score(sax: Any, as_json: Any, cell: Cell) -> None:
    cell.replies[methods.SCORE] = m.ScoreResponse(logp=[-1.25, -10.5])
    _, out, _ = sax("score", LLAMA, "a", "é", "--", "-c")
    assert out == "SCORE       SUFFIX\n-1.250000   é\n-10.500000  -c\n"
    assert as_json("score", LLAMA, "a", "b", "c", "--extra", "x:1") == [
        {"model": LLAMA, "scores": [-1.25, -10.5]}
    ]
    request = cell.asked[methods.SCORE][1]
    assert (request.prefix, list(request.suffix)) == ("a", ["b", "c"])
    assert dict(request.extra_inputs.items) == {"x": 1.0}


def test_a_suffix_that_cannot_follow(sax: Any, as_json: Any, cell: Cell) -> None:
    cell.replies[methods.SCORE] = m.ScoreResponse(logp=[-math.inf])
    assert sax("score", LLAMA, "a", "b")[1] == "SCORE  SUFFIX\n-inf   b\n"
    assert as_json("score", LLAMA, "a", "b") == [{"model": LLAMA, "scores": [None]}]


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("INVALID_ARGUMENT", 3),
        ("NOT_FOUND", 4),
        ("DEADLINE_EXCEEDED", 5),
        ("ALREADY_EXISTS", 1),
        ("INTERNAL", 1),
    ],
)
def test_refusals_have_exit_codes(sax: Any, cell: Cell, code: str, exit_code: int) -> None:
    cell.replies[methods.UNPUBLISH] = refuse(code)
    found, out, err = sax("unpublish", LLAMA, "--json")
    assert (found, json.loads(out)["exit_code"]) == (exit_code, exit_code)
    assert err.startswith("saxflow: Unpublish at 127.0.0.1:")
    assert err.endswith(": its words\n")


def test_a_deadline_that_passes(sax: Any, cell: Cell) -> None:
    cell.replies[methods.SCORE] = lambda context: (
        context.is_active() and refuse("UNAVAILABLE")(context)
    )
    code, _, err = sax("score", LLAMA, "a", "b", "--deadline", "0.2")
    assert code == 5
    assert f"Score of {LLAMA}: no answer within 0.2 s; last: Score at" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["generate", LLAMA, "\udcff"],
            "prompt cannot be sent: character 1 is half of a surrogate",
        ),
        (["score", LLAMA, "a\udcff", "b"], "prefix cannot be sent: character 2"),
        (["score", LLAMA, "a", "b", "\udcff"], "suffix cannot be sent: character 1"),
        (["generate", LLAMA, "x", "--extra", "\udcff:1"], "the name of an extra input cannot be"),
        (["generate", LLAMA, "x", "--extra", "a:nan"], "extra input a is nan; SAX carries finite"),
        (["generate", LLAMA, "x", "--extra", "a:1e39"], "extra input a is 1e+39"),
        (["generate", LLAMA, "x", "--temperature", "inf"], "extra input temperature is inf"),
        (["generate", LLAMA, "x", "--temperature", "nan"], "extra input temperature is nan"),
    ],
)
def test_what_cannot_be_sent(sax: Any, cell: Cell, arguments: list[str], said: str) -> None:
    code, out, err = sax(*arguments)
    assert (code, out) == (3, "")
    assert said in err
    assert cell.asked == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish", LLAMA, "a.B"], "Missing argument 'CHECKPOINT'"),
        (["publish", LLAMA, "a.B", "/x", "-1"], "No such option"),
        (["publish", LLAMA, "a.B", "/x", "many"], "'many' is not a valid integer range"),
        (["publish", LLAMA, "a.B", "/x", "--override", "A"], "'A' is not KEY=JSON"),
        (["publish", LLAMA, "a.B", "/x", "--override", "=1"], "'=1' is not KEY=JSON"),
        (["update", LLAMA, "--replicas", "-1"], "-1 is not in the range x>=0"),
        (["score", LLAMA, "a"], "Missing argument 'SUFFIX...'"),
        (["generate", LLAMA], "Missing argument 'PROMPT'"),
        (["generate", LLAMA, "x", "--max-tokens", "0"], "0 is not in the range 1<=x<=16777216"),
        (["generate", LLAMA, "x", "--max-tokens", "1" + "0" * 400], "is not in the range 1<=x"),
        (["generate", LLAMA, "x", "--temperature", "-0.1"], "-0.1 is not in the range x>=0"),
        (["generate", LLAMA, "x", "--deadline", "0"], "0.0 is not in the range x>0"),
        (["generate", LLAMA, "x", "--deadline", "nan"], "nan is no number of seconds"),
        (["score", LLAMA, "x", "y", "--deadline", "nan"], "nan is no number of seconds"),
        (["generate", LLAMA, "x", "--extra", "seed"], "'seed' is not KEY:VALUE with a number"),
        (["serve"], "No such command 'serve'"),
    ],
)
def test_usage(sax: Any, cell: Cell, arguments: list[str], said: str) -> None:
    code, out, err = sax(*arguments, "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)
    assert said in err
    assert cell.asked == {}


def test_the_root_may_be_in_the_environment(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.delenv("SAX_ROOT", raising=False)
    assert run(app, ["sax", "ls"]) == 2
    assert "Missing option '--sax-root'" in capsys.readouterr().err
    monkeypatch.setenv("SAX_ROOT", str(tmp_path / "root"))
    assert run(app, ["sax", "ls"]) == 0
    monkeypatch.setenv("SAX_ROOT", str(tmp_path / "other"))
    assert run(app, ["sax", "ls", "--sax-root", str(tmp_path / "root")]) == 0


@pytest.mark.parametrize(
    ("root", "code", "said"),
    [
        ("", 3, "sax-root '' is neither gs://bucket/prefix nor a directory"),
        ("s3://b/p", 3, "sax-root 's3://b/p' is neither gs://bucket/prefix nor a directory"),
        ("gs://", 3, "'gs://' is not a Cloud Storage URI; write gs://bucket/name"),
        ("/nowhere", 4, "there is no cell /sax/test below /nowhere; give the directory that"),
    ],
)
def test_roots_that_are_none(root: str, code: int, said: str, capsys: Any) -> None:
    assert run(app, ["sax", "ls", "--sax-root", root, "--json"]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(f"saxflow: {said}")
    assert json.loads(captured.out)["exit_code"] == code
