"""`saxflow validate`, `plan` and `schema` answer people and scripts, with documented exit codes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from saxflow import events, manifest
from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.gcp.clients import storage_client

SMALLEST = "apiVersion: saxflow/v1\nname: tiny\nweights: {source: gs://models/tiny}\n"
IMAGES_AND_FUNCTIONS = {
    "SAXFLOW_CONVERT_IMAGE": "r/c@sha256:1",
    "SAXFLOW_ADMIN_IMAGE": "r/a@sha256:1",
    "SAXFLOW_MODEL_SERVER_IMAGE": "r/m@sha256:1",
    "SAXFLOW_COMMIT_URL": "https://commit",
    "SAXFLOW_PUBLISH_URL": "https://publish",
}


@pytest.fixture(autouse=True)
def _no_installation(
    monkeypatch: pytest.MonkeyPatch, smallest_installation: dict[str, str]
) -> None:
    for name in (*smallest_installation, *IMAGES_AND_FUNCTIONS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch, smallest_installation: dict[str, str]) -> None:
    for name, value in (smallest_installation | IMAGES_AND_FUNCTIONS).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SMALLEST)
    return path


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    code = run(app, list(arguments))
    captured = capsys.readouterr()
    last = captured.out.splitlines()[-1] if captured.out else "null"
    return code, json.loads(last) if "--json" in arguments else captured.out, captured.err


def test_validate(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    code, said, _ = answer(capsys, "validate", str(tiny), "--json")
    assert code == 0
    assert said == {"manifest": str(tiny), "ok": True, "name": "tiny", "problems": []}
    assert answer(capsys, "validate", str(tiny))[1] == f"{tiny}: tiny is valid\n"


def test_validate_tells_every_problem(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    tiny.write_text("name: Tiny\nweights: {}\n")
    code, said, err = answer(capsys, "validate", str(tiny), "--json")
    assert (code, said["exit_code"]) == (3, 3)
    assert [(p["path"], p["line"], p["column"]) for p in said["problems"]] == [
        ("apiVersion", 1, 1),
        ("name", 1, 7),
        ("weights.source", 2, 1),
    ]
    assert "weights.source: required, but missing" in err


def test_validate_counts_the_rules_of_an_installation(
    capsys: pytest.CaptureFixture[str], tiny: Path, installation: None
) -> None:
    tiny.write_text(f"{SMALLEST}tpu: {{zones: [us-west4-a]}}\n")
    code, _, err = answer(capsys, "validate", str(tiny))
    assert code == 3
    assert "4:15: tpu.zones[0]: 'us-west4-a' is not in us-central1" in err


@pytest.mark.parametrize(("name", "code"), [("missing.yaml", 4), ("", 3)])
def test_files_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, code: int
) -> None:
    assert answer(capsys, "validate", str(tmp_path / name))[0] == code


def test_a_huge_file_is_not_read_whole(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    with tiny.open("wb") as stream:
        stream.truncate(1 << 33)
    code, _, err = answer(capsys, "validate", str(tiny))
    assert code == 3
    assert "at most 65536" in err


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "schema", "manifest", "--json")[1] == manifest.json_schema()
    assert json.loads(answer(capsys, "schema", "event")[1]) == events.json_schema()
    assert answer(capsys, "schema", "poem")[0] == 2


@pytest.mark.usefixtures("golden_weights", "installation")
def test_plan(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    code, said, _ = answer(capsys, "plan", str(tiny), "--json")
    assert code == 0
    assert said["id"] == "sf-tiny-0-a1"
    assert said["core"]["model"]["dimensions"]["vocab"] == 320
    assert said["servable"]["tokenizer"] == "gs://models/tokenizer.model"
    assert list(said["tpu"]["bodies"]) == ["us-central1-a"]
    assert said["hourly_usd"] == 1.2


@pytest.mark.usefixtures("golden_weights", "installation")
def test_plan_for_people(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    said = answer(capsys, "plan", str(tiny))[1]
    assert "cost         1.20 USD an hour, torn down after 8 h, at most 9.60 USD" in said
    assert re.search(r"\nconversion   \d+\.\d kB in 1 Task\n", said)
    assert re.search(r"\n  weights +\d+\.\d kB\n", said)
    assert '"acceleratorType": "v5litepod-1"' in said
    tiny.write_text(f"{SMALLEST}lifecycle: {{ttl: never}}\n")
    assert "until the manifest is deleted" in answer(capsys, "plan", str(tiny))[1]


@pytest.mark.usefixtures("golden_weights", "installation")
def test_a_plan_touches_nothing(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    client = storage_client("proj")
    before = [(b.name, b.generation) for b in client.list_blobs("models")]
    answer(capsys, "plan", str(tiny))
    assert [(b.name, b.generation) for b in client.list_blobs("models")] == before
    client.close()


@pytest.mark.usefixtures("golden_weights", "installation")
def test_a_plan_refuses_with_every_reason(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    tiny.write_text(f"{SMALLEST}model: {{size: 7b}}\nlifecycle: {{maxHourlyCost: 1}}\n")
    code, said, _ = answer(capsys, "plan", str(tiny), "--json")
    assert code == 3
    assert [p["path"] for p in said["problems"]] == ["model.size", "lifecycle.maxHourlyCost"]


@pytest.mark.usefixtures("golden_weights", "installation")
def test_a_missing_shard_is_named(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    client = storage_client("proj")
    client.bucket("models").blob("tiny/consolidated.01.pth").delete()
    client.close()
    code, _, err = answer(capsys, "plan", str(tiny))
    assert code == 3
    assert "consolidated.01.pth seems to be missing" in err


def test_a_plan_needs_an_installation(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    code, _, err = answer(capsys, "plan", str(tiny))
    assert code == 1
    assert "SAXFLOW_PROJECT" in err
