"""`saxflow verify`: what is said of a checkpoint, and the exit code."""

import json
import shutil

import pytest

from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.cli.verify import SHOWN

STATE = "checkpoint_00000000/state"
NORM = "mdl_vars.params.lm.final_ln.scale"
EMBEDDING = "mdl_vars.params.lm.embedding_lookup.emb_var"


@pytest.fixture(scope="module")
def converted(golden, tmp_path_factory):
    """A checkpoint that is sound; tests only copy it."""
    folder = tmp_path_factory.mktemp("converted")
    assert run(app, ["convert", str(golden / "tiny_mha_2shards/meta"), str(folder)]) == 0
    return folder


@pytest.fixture
def checkpoint(converted, tmp_path):
    return shutil.copytree(converted, tmp_path / "dst")


@pytest.fixture
def verify(capsys):
    """Run the command; return exit code, stdout, stderr."""

    def command(*arguments):
        capsys.readouterr()
        code = run(app, ["verify", *map(str, arguments)])
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def verdict(verify):
    """Run the command with --json; return exit code and the one line it prints, parsed."""

    def command(*arguments):
        code, out, _ = verify(*arguments, "--json")
        assert out.count("\n") == 1
        return code, json.loads(out)

    return command


def test_a_sound_checkpoint_in_words(verify, converted):
    code, out, _ = verify(converted)
    step = converted / "checkpoint_00000000"
    assert code == 0
    assert out == f"{step} is sound: 17 variables, 17 chunks, 300.9 kB read\n"


def test_a_sound_checkpoint_as_json(verdict, converted):
    code, found = verdict(converted)
    step = converted / "checkpoint_00000000"
    objects = [path for path in step.rglob("*") if path.name != "commit_success.txt"]
    assert code == 0
    assert found == {
        "checkpoint": str(step),
        "ok": True,
        "variables": 17,
        "chunks": 17,
        "bytes": sum(path.stat().st_size for path in objects if path.is_file()),
        "problems": [],
    }
    assert list(found) == ["checkpoint", "ok", "variables", "chunks", "bytes", "problems"]


@pytest.mark.parametrize(
    "form", ["{}", "{}/", "{}/checkpoint_00000000", "{}/checkpoint_00000000//", "file://{}"]
)
def test_every_way_to_name_a_checkpoint(verdict, converted, form):
    code, found = verdict(form.format(converted))
    assert (code, found["checkpoint"]) == (0, str(converted / "checkpoint_00000000"))


@pytest.mark.parametrize("name", [".", "checkpoint_00000000", "./checkpoint_00000000/"])
def test_from_within(verdict, converted, monkeypatch, name):
    monkeypatch.chdir(converted)
    assert verdict(name)[0] == 0


def test_progress_is_told_on_stderr_alone(verify, converted):
    _, out, err = verify(converted, "--json")
    assert json.loads(out)["ok"]
    assert all(line.startswith("verifying: ") for line in err.splitlines())
    assert err


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        (
            f"{STATE}/{NORM}/0",
            lambda path: path.unlink(),
            (NORM, "0", "is missing; SAX would read zeros"),
        ),
        (
            f"{STATE}/{EMBEDDING}/0.0",
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            (EMBEDDING, "0.0", "has 40959 bytes, not 40960"),
        ),
        (f"{STATE}/{EMBEDDING}/0.0", flip, (EMBEDDING, "0.0", "has crc32c ")),
        (f"{STATE}/{NORM}/.zarray", lambda path: path.unlink(), (NORM, ".zarray", "is missing")),
        (f"{STATE}/{NORM}/.zarray", flip, (NORM, ".zarray", "differs from what these dimensions")),
        (
            f"{STATE}/{NORM}/été",
            lambda path: path.write_bytes(b""),
            (NORM, "été", "does not belong to this checkpoint"),
        ),
        (
            "checkpoint_00000000/extra",
            lambda path: path.write_bytes(b""),
            ("extra", "", "does not belong to this checkpoint"),
        ),
        (
            "checkpoint_00000000/commit_success.txt",
            lambda path: path.unlink(),
            ("commit_success.txt", "", "is missing; readers of gs:// need this commit marker"),
        ),
        (
            f"{STATE}/commit_success.txt",
            lambda path: path.write_bytes(b"yes"),
            ("state/commit_success.txt", "", "is not the commit marker that was written"),
        ),
        (
            "checkpoint_00000000/metadata/metadata",
            flip,
            ("metadata/metadata", "", "differs from what these dimensions"),
        ),
    ],
)
def test_one_damage(verify, verdict, checkpoint, name, damage, problem):
    damage(checkpoint / name)
    variable, chunk, reason = problem
    code, found = verdict(checkpoint)
    assert (code, found["ok"], len(found["problems"])) == (1, False, 1)
    told = found["problems"][0]
    assert list(told) == ["variable", "chunk", "reason"]
    assert (told["variable"], told["chunk"]) == (variable, chunk)
    assert told["reason"].startswith(reason)
    code, out, _ = verify(checkpoint)
    first, last = out.splitlines()
    place = f"{variable}/{chunk}" if chunk else variable
    assert first == f"{place} {told['reason']}"
    assert last.startswith(f"{checkpoint}/checkpoint_00000000 has 1 problem: 17 variables, ")
    assert code == 1


def test_only_so_many_problems_are_shown_in_words(verify, verdict, checkpoint):
    shutil.rmtree(checkpoint / STATE)
    code, found = verdict(checkpoint)
    count = len(found["problems"])
    assert (code, count > SHOWN) == (1, True)
    assert found["problems"] == sorted(
        found["problems"], key=lambda one: (one["variable"], one["chunk"])
    )
    code, out, _ = verify(checkpoint)
    lines = out.splitlines()
    assert (code, len(lines)) == (1, SHOWN + 2)
    assert lines[-2] == f"... and {count - SHOWN} more"
    assert f" has {count} problems: 17 variables, 0 chunks, " in lines[-1]


def test_as_many_problems_as_are_shown(verify, checkpoint):
    for number in range(SHOWN):
        (checkpoint / f"checkpoint_00000000/extra{number:02}").touch()
    _, out, _ = verify(checkpoint)
    assert len(out.splitlines()) == SHOWN + 1
    assert "more" not in out


def change_report(folder, **change):
    path = folder / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


REMEDY = "; convert again with --overwrite"


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (shutil.rmtree, 4, "{} holds no checkpoint_00000000"),
        (
            lambda folder: (folder / "report.json").unlink(),
            4,
            "{} has no report.json, so there are no digests to compare with; convert again with"
            " saxflow, or verify where it was written",
        ),
        (
            lambda folder: change_report(folder, dtype="bfloat16"),
            1,
            "{}/report.json was altered: its seal does not match" + REMEDY,
        ),
        (
            lambda folder: (folder / "report.json").write_bytes(b""),
            1,
            "{}/report.json is damaged (JSONDecodeError(",
        ),
        (
            lambda folder: (folder / "report.json").write_bytes(b"\xff\xfe\xff"),
            1,
            "{}/report.json is damaged (UnicodeDecodeError(",
        ),
        (
            lambda folder: (folder / "report.json").write_text("[" * 200_000),
            1,
            "{}/report.json is damaged (RecursionError(",
        ),
        (
            lambda folder: (folder / "report.json").write_text("[1]"),
            1,
            "{}/report.json is damaged (",
        ),
    ],
    ids=["nothing", "no report", "altered", "empty", "no text", "too deep", "no object"],
)
def test_what_cannot_be_verified(verify, checkpoint, damage, code, said):
    damage(checkpoint)
    found, out, err = verify(checkpoint, "--json")
    body = json.loads(out)
    assert (found, body["exit_code"]) == (code, code)
    assert body["error"].startswith(said.format(checkpoint))
    assert err.endswith(f"saxflow: {body['error']}\n")


def test_other_schemes(verify):
    code, out, err = verify("s3://bucket/p")
    assert (code, out) == (3, "")
    assert "'s3://bucket/p' is neither a local path nor file:///path nor gs://bucket/prefix" in err


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--all"]])
def test_usage(verify, arguments):
    code, out, _ = verify(*arguments, "--json")
    assert (code, json.loads(out)["exit_code"]) == (2, 2)
