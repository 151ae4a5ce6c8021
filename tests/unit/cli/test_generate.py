"""`saxflow generate`: from a deployment's name to text, with exit codes and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.gcp.clients import storage_client
from saxflow.gcp.objects import Objects, Uri
from saxflow.head import NO_GENERATION, Attempt, Head, Source
from saxflow.local.storage.server import StorageServer
from saxflow.pipeline.services import services
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.handlers import generic_handlers

Answer = tuple[int, str, str]


@dataclass
class Teller:
    """Admin and model server in one: it says the same to everybody.

    Args:
        pieces: of the text.
        refusal: (code, words) after the pieces.
        asked: requests.
    """

    pieces: list[str] = field(default_factory=lambda: ["Es ", "war ", "Ä\n"])
    refusal: tuple[str, str] | None = None
    asked: list[m.GenerateRequest] = field(default_factory=list)
    address: str = ""

    def stream(self, request: m.GenerateRequest, context: Any) -> Any:
        self.asked.append(request)
        length = 0
        for piece in self.pieces:
            item = m.GenerateStreamItem(text=piece, prefix_len=length, scores=[-1.0])
            length += len(piece)
            yield m.GenerateStreamResponse(items=[item])
        self._end(context)

    def whole(self, request: m.GenerateRequest, context: Any) -> m.GenerateResponse:
        self.asked.append(request)
        self._end(context)
        return m.GenerateResponse(texts=[m.DecodedText(text="".join(self.pieces), score=-1.0)])

    def watch(self, _request: Any, _context: Any) -> m.WatchLocResponse:
        change = m.WatchResult.Mutation(addition=self.address)
        return m.WatchLocResponse(
            admin_server_id="a", result=m.WatchResult(next_seqno=1, changelog=[change])
        )

    def _end(self, context: Any) -> None:
        if self.refusal:
            context.abort(grpc.StatusCode[self.refusal[0]], self.refusal[1])


@pytest.fixture
def teller() -> Generator[Teller]:
    started = Teller()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    behaviors = {
        methods.WATCH_LOC: started.watch,
        methods.GENERATE: started.whole,
        methods.GENERATE_STREAM: started.stream,
    }
    server.add_generic_rpc_handlers(generic_handlers(behaviors))
    started.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield started
    server.stop(0).wait()


@pytest.fixture
def here(
    storage: StorageServer,
    smallest_installation: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Generator[Objects]:
    """Let this process be on an installation without deployments; return its objects."""
    for name, value in smallest_installation.items():
        monkeypatch.setenv(name, value)
    services.cache_clear()
    client = storage_client("proj")
    yield Objects(client)
    client.close()
    services.cache_clear()


@pytest.fixture
def deploy(
    here: Objects, golden: Path, golden_servable: dict[str, Any], tmp_path: Path
) -> Callable[..., None]:
    """Write a deployment's head: serving from an address, on its way, or deleted."""
    tokenizer = {"tokenizer": (golden / "tiny320.model").as_uri()}
    lengths = {"input_len": 16, "max_new_tokens": 50}

    def write(name: str, address: str | None, *, wanted: bool = True, **servable: Any) -> None:
        root = tmp_path / name
        serving = None
        if address is not None:
            (root / "sax/test").mkdir(parents=True)
            location = m.Location(location=address).SerializeToString()
            (root / "sax/test/location.proto").write_bytes(location)
            model = "/sax/test/llama"
            serving = Attempt("7", 1, sax_root=str(root), model_id=model, active_at=1)
        head = Head(
            name,
            Source("manifests", f"{name}.yaml"),
            desired="7" if wanted else NO_GENERATION,
            serving=serving,
            candidate=None if serving else Attempt("7", 1, phase="tpu.waiting"),
        )
        part = {"class": "Llama", **golden_servable, **lengths, **tokenizer, **servable}
        for place, data in {
            "head.json": head.encode(),
            "7/servable.json": json.dumps(part).encode(),
        }.items():
            here.write(Uri("control", f"deployments/{name}/{place}"), data, if_generation=None)

    return write


@pytest.fixture
def generate(here: Objects, capsys: Any) -> Callable[..., Answer]:
    """Run the command; return exit code, stdout, stderr."""

    def command(*arguments: str) -> Answer:
        code = run(app, ["generate", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def served(deploy: Any, teller: Teller) -> Teller:
    """The deployment `story`, which the teller serves."""
    deploy("story", teller.address)
    return teller


def test_the_text_and_nothing_else(generate: Any, served: Teller) -> None:
    assert generate("story", "Hi é") == (0, "Es war Ä\n\n", "")
    assert generate("story", "Hi é", "--no-stream") == (0, "Es war Ä\n\n", "")
    assert [request.text for request in served.asked] == ["Hi é", "Hi é"]


def test_json_lines_end_with_the_whole(generate: Any, served: Teller) -> None:
    code, out, err = generate("story", "Hi é", "--json")
    *pieces, last = map(json.loads, out.splitlines())
    assert (code, err) == (0, "")
    assert pieces == [{"piece": "Es "}, {"piece": "war "}, {"piece": "Ä\n"}]
    assert list(last) == ["deployment", "prompt", "text", "finish_reason", "usage"]
    assert (last["deployment"], last["prompt"]) == ("story", "Hi é")
    assert (last["text"], last["finish_reason"]) == ("Es war Ä\n", "stop")
    usage = last["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_json_at_once_is_one_line(generate: Any, served: Teller) -> None:
    code, out, _ = generate("story", "Hi", "--json", "--no-stream")
    assert (code, out.count("\n")) == (0, 1)
    assert json.loads(out)["text"] == "Es war Ä\n"


def test_options_become_extra_inputs(generate: Any, served: Teller) -> None:
    generate("story", "Hi", "--max-tokens", "3", "--temperature", "0.5", "--extra", "top_k:40")
    assert dict(served.asked[0].extra_inputs.items) == {
        "temperature": 0.5,
        "top_k": 40.0,
        "per_example_max_decode_steps": 3.0,
    }


@pytest.mark.parametrize("flags", [[], ["--max-tokens", "51"], ["--max-tokens", str(2**24)]])
def test_no_more_tokens_than_the_deployment_gives(
    generate: Any, served: Teller, flags: list[str]
) -> None:
    assert generate("story", "Hi", *flags)[0] == 0
    assert served.asked[0].extra_inputs.items["per_example_max_decode_steps"] == 50.0


def test_a_text_cut_by_its_length(generate: Any, served: Teller) -> None:
    _, out, _ = generate("story", "Hi", "--max-tokens", "1", "--json")
    assert json.loads(out.splitlines()[-1])["finish_reason"] == "length"


def test_without_a_tokenizer_nothing_is_counted(
    generate: Any, deploy: Any, teller: Teller, tmp_path: Path
) -> None:
    deploy("story", teller.address, tokenizer=f"file://{tmp_path}/missing.model")
    code, out, _ = generate("story", "Hi", "--json")
    assert (code, json.loads(out.splitlines()[-1])["usage"]) == (0, None)


def test_the_model_may_be_given_as_sax_calls_it(generate: Any, served: Teller) -> None:
    assert generate("/sax/test/llama", "Hi") == (0, "Es war Ä\n\n", "")


def test_a_model_that_several_deployments_serve(generate: Any, deploy: Any, served: Teller) -> None:
    deploy("tale", served.address)
    code, _, err = generate("/sax/test/llama", "Hi")
    assert code == 3
    assert err == (
        "saxflow: /sax/test/llama is served by several deployments (story, tale);"
        " name the deployment\n"
    )


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("nobody", 4, "there is no deployment 'nobody'; `saxflow status` lists them"),
        ("", 4, "there is no deployment ''"),
        ("Story", 4, "there is no deployment 'Story'"),
        ("../story", 4, "there is no deployment '../story'"),
        ("été", 4, "there is no deployment 'été'"),
        ("\udcff", 4, r"there is no deployment '\udcff'"),
        ("/sax/test/other", 4, "no deployment serves /sax/test/other"),
        ("/sax/test", 3, "'/sax/test' is no SAX model ID; write /sax/<cell>/<model>"),
        ("later", 6, "deployment later does not serve yet (tpu.waiting); `saxflow watch later`"),
        ("gone", 4, "deployment gone was deleted"),
    ],
)
def test_names_that_lead_nowhere(
    generate: Any, deploy: Any, served: Teller, name: str, code: int, said: str
) -> None:
    deploy("later", None)
    deploy("gone", None, wanted=False)
    found, out, err = generate(name, "Hi", "--json")
    assert found == code
    assert err.startswith(f"saxflow: {said}")
    assert json.loads(out)["exit_code"] == code
    assert served.asked == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["word " * 20], "the prompt has "),
        (["a\udcff"], "prompt: text cannot be sent: character 2 is half of a surrogate pair"),
        (["x", "--extra", "seed:nan"], "extra input seed is nan; SAX carries finite 32-bit"),
        (["x", "--temperature", "inf"], "extra input temperature is inf"),
    ],
)
def test_what_cannot_be_asked(
    generate: Any, served: Teller, arguments: list[str], said: str
) -> None:
    code, out, err = generate("story", *arguments)
    assert (code, out) == (3, "")
    assert err.startswith(f"saxflow: {said}")
    assert served.asked == []


def test_a_prompt_too_long_is_told_with_both_lengths(generate: Any, served: Teller) -> None:
    _, _, err = generate("story", "word " * 20)
    assert err.endswith("tokens, BOS included; story takes at most 16\n")


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("INVALID_ARGUMENT", 3), ("INTERNAL", 1), ("DEADLINE_EXCEEDED", 5)],
)
@pytest.mark.parametrize("flags", [[], ["--no-stream"]])
def test_refusals_of_the_model(
    generate: Any, served: Teller, code: str, exit_code: int, flags: list[str]
) -> None:
    served.pieces = []
    served.refusal = (code, "its words")
    found, out, err = generate("story", "Hi", "--json", *flags)
    assert found == exit_code
    assert json.loads(out)["exit_code"] == exit_code
    assert err.startswith("saxflow: Generate")
    assert err.endswith(f"at {served.address}: its words\n")


def test_a_text_that_breaks_off(generate: Any, served: Teller) -> None:
    served.refusal = ("INTERNAL", "the server fell over")
    code, out, err = generate("story", "Hi", "--json")
    *pieces, failure = map(json.loads, out.splitlines())
    assert code == 1
    assert "".join(piece["piece"] for piece in pieces) == "Es war Ä\n"
    assert failure["exit_code"] == 1
    assert "the server fell over" in err


def test_a_cell_that_is_gone(generate: Any, deploy: Any, tmp_path: Path, teller: Teller) -> None:
    deploy("story", teller.address)
    (tmp_path / "story/sax/test/location.proto").unlink()
    code, _, err = generate("story", "Hi")
    assert code == 6
    assert "no admin server has announced itself yet" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'NAME'"),
        (["story"], "Missing argument 'PROMPT'"),
        (["story", "a", "b"], "unexpected extra argument"),
        (["story", "x", "--max-tokens", "0"], "0 is not in the range 1<=x<=16777216"),
        (["story", "x", "--temperature", "-1"], "-1.0 is not in the range x>=0"),
        (["story", "x", "--deadline", "nan"], "nan is no number of seconds"),
        (["story", "x", "--extra", "seed"], "'seed' is not KEY:VALUE with a number"),
    ],
)
def test_usage(generate: Any, arguments: list[str], said: str) -> None:
    code, out, err = generate(*arguments, "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)
    assert said in err


def test_without_an_installation_the_settings_are_named(
    generate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAXFLOW_CONTROL_BUCKET")
    services.cache_clear()
    code, out, err = generate("story", "Hi", "--json")
    assert (code, json.loads(out)["exit_code"]) == (1, 1)
    assert "SAXFLOW_CONTROL_BUCKET" in err
