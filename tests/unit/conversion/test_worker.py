"""The Batch Task: its flags, its objects, its exit codes."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from saxflow import layout
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.report import Spec
from saxflow.conversion.task import Progress, Share
from saxflow.conversion.verify import verify
from saxflow.conversion.worker import ProgressReporter, main, parse_order
from saxflow.conversion.written import Written
from saxflow.errors import CloudError

MAIN = Path(__file__).parents[3] / "batch_jobs/convert_checkpoint/main.py"


def fingerprint(uri, spec) -> str:
    with open_directory(str(uri)) as files:
        return spec.fingerprint(read_source(files))


def task(src, dst, index=0, count=1, spec=None, **flags) -> int:
    spec = spec or Spec(mesh=2)
    found = flags.pop("fingerprint", None) or fingerprint(src, spec)
    argv = ["--source", str(src), "--destination", str(dst), "--fingerprint", found]
    argv += ["--dtype", spec.dtype, "--mesh", str(spec.mesh)]
    for name, value in flags.items():
        argv += [f"--{name}", value]
    environ = {"BATCH_TASK_INDEX": str(index), "BATCH_TASK_COUNT": str(count)}
    return main(argv, environ)


def document(dst: Path, name: str) -> dict:
    return json.loads((dst / name).read_text())


def test_the_account_covers_the_plan_exactly(tmp_path, kit, tiny):
    assert [task(tiny, tmp_path / "dst", index, 3) for index in range(3)] == [0, 0, 0]
    records = [document(tmp_path / "dst", f"tasks/{i}-of-3.json") for i in range(3)]
    accounted = {one["name"]: one["size"] for record in records for one in record["objects"]}
    dims = kit.GQA
    planned = {o.name: o.size_bytes for o in layout.objects(dims, "float16", 2, "none")}
    assert accounted == planned
    assert set(records[0]) >= {
        "task", "count", "fingerprint", "objects", "bytes_read", "bytes_written", "seconds",
        "peak_rss_bytes",
    }  # fmt: skip
    step = tmp_path / "dst/checkpoint_00000000"
    written = {str(p.relative_to(step)) for p in step.rglob("*") if p.is_file()}
    assert written == set(planned)
    kit.assert_holds(step, kit.model(dims))


def test_once_the_markers_are_there_the_checkpoint_verifies(tmp_path, tiny):
    dst = tmp_path / "dst"
    for index in range(2):
        assert task(tiny, dst, index, 2) == 0
    for marker, text in layout.marker_texts(str(dst)).items():
        (dst / "checkpoint_00000000" / marker).write_bytes(text)
    assert verify(str(dst)).ok


def test_progress_ends_with_success(tmp_path, tiny):
    task(tiny, tmp_path / "dst")
    progress = document(tmp_path / "dst", "progress/0-of-1.json")
    assert progress["state"] == "succeeded"
    assert progress["bytes_done"] == progress["bytes_total"] > 0
    assert progress["failure"] is None
    assert datetime.fromisoformat(progress["updated"]).tzinfo is not None
    assert set(progress) == {
        "task", "count", "state", "bytes_done", "bytes_total", "bytes_per_second", "eta_seconds",
        "variable", "updated", "failure",
    }  # fmt: skip


def test_cloud_to_cloud_and_again(kit, tiny, storage):
    with open_directory("gs://models/weights") as bucket:
        for path in tiny.iterdir():
            bucket.overwrite(path.name, path.read_bytes())
    for _ in range(2):
        assert task("gs://models/weights", "gs://models/dst/f00", 0, 2) == 0
    assert task("gs://models/weights", "gs://models/dst/f00", 1, 2) == 0
    with open_directory("gs://models/dst/f00") as directory:
        record = json.loads(directory.read("tasks/0-of-2.json"))
        listed = directory.entries("checkpoint_00000000/")
        assert record["bytes_resumed"] > 0
        for one in record["objects"]:
            entry = listed[f"checkpoint_00000000/{one['name']}"]
            assert (entry.size_bytes, entry.crc32c) == (one["size"], one["crc32c"])


def test_a_doubled_task_converts_nothing_again(tmp_path, tiny):
    assert [task(tiny, tmp_path / "dst") for _ in range(2)] == [0, 0]
    record = document(tmp_path / "dst", "tasks/0-of-1.json")
    assert record["bytes_read"] == 0
    assert record["bytes_resumed"] > 0


def test_two_racing_attempts_leave_one_right_checkpoint(tmp_path, kit, tiny):
    argv = ["--source", str(tiny), "--fingerprint", fingerprint(tiny, Spec(mesh=2)), "--mesh", "2"]
    command = [sys.executable, str(MAIN), *argv, "--destination", str(tmp_path / "dst")]
    racers = [subprocess.Popen(command) for _ in range(2)]
    assert [racer.wait() for racer in racers] == [0, 0]
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", kit.model(kit.GQA))
    step = tmp_path / "dst/checkpoint_00000000"
    for one in document(tmp_path / "dst", "tasks/0-of-1.json")["objects"]:
        assert Written.of(one["name"], (step / one["name"]).read_bytes()).crc32c == one["crc32c"]


def test_another_fingerprint_is_bad_input(tmp_path, tiny, capsys):
    assert task(tiny, tmp_path / "dst", fingerprint="0" * 12) == 3
    failure = document(tmp_path / "dst", "progress/0-of-1.json")["failure"]
    assert failure["exit_code"] == 3
    assert not failure["retryable"]
    assert "changed last" in failure["reason"]
    assert "000000000000 was planned" in capsys.readouterr().err


def test_a_missing_shard_is_named(tmp_path, kit, capsys):
    src = kit.meta(tmp_path / "src", kit.model(kit.MHA), kit.MetaFiles(shards=2))
    (src / "consolidated.01.pth").unlink()
    assert task(src, tmp_path / "dst", fingerprint="0" * 12) == 3
    failure = document(tmp_path / "dst", "progress/0-of-1.json")["failure"]
    assert "consolidated.01.pth is missing" in failure["reason"]


def test_trouble_with_storage_is_worth_repeating(tiny, storage, faults, monkeypatch):
    monkeypatch.setattr("saxflow.checkpoint.cloud_http.FIRST_PAUSE_SECONDS", 0.001)
    faults.arm("storage", "objects.insert", "return-503", count=None, contains="embedding")
    assert task(tiny, "gs://models/dst") == 6
    with open_directory("gs://models/dst") as directory:
        failure = json.loads(directory.read("progress/0-of-1.json"))["failure"]
    assert failure["retryable"]


def test_given_sha256_digests_are_checked(tmp_path, tiny):
    from hashlib import sha256

    name = "consolidated.00.pth"
    right = sha256((tiny / name).read_bytes()).hexdigest()
    assert task(tiny, tmp_path / "a", sha256=json.dumps({name: right})) == 0
    assert task(tiny, tmp_path / "b", sha256=json.dumps({name: "0" * 64})) == 3
    reason = document(tmp_path / "b", "progress/0-of-1.json")["failure"]["reason"]
    assert f"{name} has sha256 {right}" in reason


@pytest.mark.parametrize(
    "environ",
    [
        {"BATCH_TASK_INDEX": "2", "BATCH_TASK_COUNT": "2"},
        {"BATCH_TASK_INDEX": "x"},
        {"BATCH_TASK_COUNT": "-1"},
    ],
)
def test_impossible_tasks_are_usage_errors(environ, capsys):
    argv = ["--source", "a", "--destination", "b", "--fingerprint", "c"]
    with pytest.raises(SystemExit) as caught:
        parse_order(argv, environ)
    assert caught.value.code == 2
    assert "is no Task" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--mesh", "0"], ["--sha256", "[1]"], ["--sha256", "{"]])
def test_flags_that_make_no_sense(flags, capsys):
    argv = ["--source", "a", "--destination", "b", "--fingerprint", "c", *flags]
    with pytest.raises(SystemExit) as caught:
        parse_order(argv, {})
    assert caught.value.code == 2


def test_the_entry_point_runs_as_batch_runs_it(tmp_path, tiny):
    found = fingerprint(tiny, Spec())
    done = subprocess.run(
        [sys.executable, str(MAIN), "--source", tiny.as_uri(), "--fingerprint", found,
         "--destination", (tmp_path / "dst").as_uri()],
        env={**os.environ, "BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "1"},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dst/report.json").exists()


def test_a_lost_progress_write_does_not_stop_the_task(tmp_path, capsys):
    class Refusing:
        def overwrite(self, name, data):
            raise CloudError("no", service="storage", code=503, retryable=True)

    with ProgressReporter(Refusing(), Share()) as reporter:
        reporter.update(Progress(1, 2, 0, 1.0))
    assert "progress not written" in capsys.readouterr().err
