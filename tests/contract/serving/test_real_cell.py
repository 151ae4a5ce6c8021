"""The HTTP face in front of a real cell: our admin and model server, a Llama on the CPU."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from saxflow.sax.names import CellName
from saxflow.sax.roots import SaxRoot

GOLDEN = Path(__file__).parents[2] / "data/golden"
MODEL = "/sax/test/llama"
CASES = json.loads((GOLDEN / "generate.json").read_text(encoding="utf-8"))["cases"]


IDS, PIECES = "ids:", f"file://{GOLDEN / 'tiny320.model'}"
by_ids = pytest.mark.parametrize("real_cell", [IDS], indirect=True)
by_pieces = pytest.mark.parametrize("real_cell", [PIECES], indirect=True)
pytestmark = pytest.mark.slow


@dataclass
class RealCell:
    """`saxflow cell up` in a process of its own."""

    process: subprocess.Popen[str]
    sax_root: str

    @property
    def address(self) -> str:
        """Of the admin."""
        return SaxRoot(self.sax_root).location(CellName("test"))

    def model_server(self) -> int | None:
        """Return the process id of the model server, None while there is none."""
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            with suppress(OSError):
                for pid in children.read_text().split():
                    if b"model-server" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        return int(pid)
        return None


def start_cell(directory: Path, checkpoint: Path, servable: dict[str, Any]) -> RealCell:
    (directory / "servable.json").write_text(json.dumps(servable))
    command = [sys.executable, "-m", "saxflow.cli", "cell", "up", "--model", "llama"]
    command += ["--checkpoint", str(checkpoint), "--servable", str(directory / "servable.json")]
    command += ["--sax-root", str(directory / "root"), "--fs-root", str(directory / "fs")]
    log = (directory / "cell.log").open("w")
    with log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "is ready" in line:
            return RealCell(process, str(directory / "root"))
    process.stdout.close()
    raise AssertionError((directory / "cell.log").read_text())


@pytest.fixture(scope="module")
def real_cell(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    golden_step: Path,
    golden_servable: dict[str, Any],
) -> Generator[tuple[RealCell, dict[str, Any]]]:
    servable = golden_servable | {
        "class": "Llama",
        "batch": 8,
        "input_len": 64,
        "max_new_tokens": 32,
        "tokenizer": request.param,
    }
    cell = start_cell(tmp_path_factory.mktemp("cell"), golden_step, servable)
    yield cell, servable
    cell.process.terminate()
    cell.process.wait(30)
    assert cell.process.stdout is not None
    cell.process.stdout.close()


@pytest.fixture
def door(
    real_cell: tuple[RealCell, dict[str, Any]], installation: Any, open_door: Callable[..., Any]
) -> Any:
    cell, servable = real_cell
    installation.deploy("llama", cell.address, MODEL, **servable)
    return open_door(patience_seconds=30.0)


def read_stream(door: Any, prompts: list[str]) -> list[str]:
    """Stream completions of all prompts at once and return their texts."""

    async def read(client: httpx.AsyncClient, prompt: str) -> str:
        body = {"model": "llama", "prompt": prompt, "max_tokens": 32, "temperature": 0}
        async with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as reply:
            assert reply.status_code == 200, await reply.aread()
            lines = [line async for line in reply.aiter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        return "".join(json.loads(line[6:])["choices"][0]["text"] for line in lines[:-1])

    async def read_all() -> list[str]:
        async with httpx.AsyncClient(
            base_url=door.url, timeout=240, trust_env=False, limits=httpx.Limits()
        ) as client:
            return await asyncio.gather(*(read(client, prompt) for prompt in prompts))

    return asyncio.run(read_all())


@by_ids
def test_the_golden_tokens_and_scores(door: Any) -> None:
    for name, case in CASES.items():
        inputs = {"temperature": 0, "per_example_max_decode_steps": 16}
        response = door.post(
            "/generate", model="llama", query=name.removeprefix("tok:"), extra_inputs=inputs
        )
        ((text, score),) = response.json()
        assert text == case["sax_text"]
        assert score == pytest.approx(case["sax_score"], abs=1e-3)


@by_ids
def test_what_the_real_server_refuses(door: Any) -> None:
    inputs = {"no_such_input": 1}
    response = door.post("/generate", model="llama", query="3", extra_inputs=inputs)
    assert response.status_code == 400
    assert "no_such_input" in door.error(response)["message"]
    response = door.post("/v1/completions", model="llama", prompt=",".join(["3"] * 64))
    assert door.error(response)["code"] == "context_length_exceeded"
    response = door.post("/v1/completions", model="llama", prompt="not ids")
    assert (response.status_code, door.error(response)["param"]) == (400, "prompt")


@by_ids
def test_seeds_repeat(door: Any) -> None:
    texts = [
        door.openai.completions.create(
            model="llama", prompt="3,4", max_tokens=12, temperature=1.5, seed=seed
        )
        .choices[0]
        .text
        for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1] != texts[2]


@by_ids
def test_a_killed_model_server_breaks_cleanly_and_comes_back(
    door: Any, real_cell: tuple[RealCell, dict[str, Any]]
) -> None:
    cell, _ = real_cell
    admin, killed = cell.address, cell.model_server()
    body = {"model": "llama", "prompt": "3", "max_tokens": 32, "temperature": 0}
    expected = door.post("/v1/completions", **body).json()["choices"][0]["text"]

    async def read(client: httpx.AsyncClient) -> None:
        """Read one stream to its end, and kill the server as soon as it speaks."""
        text, last = "", ""
        async with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as reply:
            assert reply.status_code == 200, await reply.aread()
            async for line in reply.aiter_lines():
                last = line or last
                if cell.model_server() == killed:
                    os.kill(killed, signal.SIGKILL)
                if line.startswith('data: {"id"'):
                    text += json.loads(line[6:])["choices"][0]["text"]
        assert expected.startswith(text)
        if last == "data: [DONE]":
            assert text == expected
        else:
            assert json.loads(last[6:])["error"]["code"] == "backend_unavailable"

    async def read_all() -> None:
        async with httpx.AsyncClient(
            base_url=door.url, timeout=240, trust_env=False, limits=httpx.Limits()
        ) as client:
            await asyncio.gather(*(read(client) for _ in range(40)))

    asyncio.run(read_all())
    assert door.post("/v1/completions", **body).json()["choices"][0]["text"] == expected
    assert cell.model_server() not in (killed, None)
    assert cell.address == admin, "nothing else was started again"


@by_pieces
def test_a_hundred_streams_say_what_one_says(door: Any) -> None:
    prompts = [f"é 日本 {number % 7}" for number in range(100)]
    texts = read_stream(door, prompts)
    for prompt in set(prompts):
        answer = door.openai.completions.create(
            model="llama", prompt=prompt, max_tokens=32, temperature=0
        )
        told = {text for asked, text in zip(prompts, texts, strict=True) if asked == prompt}
        assert told == {answer.choices[0].text}
        assert answer.usage.completion_tokens <= 32
    assert any(not text.isascii() for text in texts)
    assert door.http.get("/readyz").status_code == 200
