"""Stopped, doubled and repeated conversions: nothing finished is redone, nothing is ever mixed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.convert import Conversion, convert
from saxflow.conversion.partial import Partial
from saxflow.conversion.report import Spec
from saxflow.conversion.task import Share
from saxflow.conversion.verify import verify
from saxflow.errors import BusyError, InputError, IntegrityError

RUNNER = Path(__file__).with_name("kill_runner.py")


def run(src, dst, spec=None, *, share=None, overwrite=False, on_progress=lambda _: None):
    with open_directory(str(src)) as files, open_directory(str(dst)) as target:
        source = read_source(files)
        spec, share = spec or Spec(mesh=2), share or Share()
        work = Conversion(files, source, target, spec, share, overwrite=overwrite)
        return convert(work, on_progress)


class StopConversionError(Exception):
    pass


def stop_after(chunks: int):
    seen = []

    def progress(_):
        seen.append(1)
        if len(seen) > chunks:
            raise StopConversionError

    return progress


@pytest.mark.slow
def test_a_hundred_kills_at_random_moments_change_nothing(tmp_path, kit, tiny):
    command = [sys.executable, str(RUNNER), str(tiny), str(tmp_path / "killed"), "100", "7"]
    (tmp_path / "killed").mkdir()
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    result = json.loads(done.stdout)
    assert result["killed"] == 100
    assert result["again"] == []
    run(tiny, tmp_path / "whole")
    whole = kit.tree(tmp_path / "whole/checkpoint_00000000")
    for number in range(result["ended"]):
        dst = tmp_path / f"killed/dst{number}"
        found = kit.tree(dst / "checkpoint_00000000")
        assert _without_markers(found) == _without_markers(whole)
        assert sorted(os.listdir(dst)) == ["checkpoint_00000000", "report.json"]
        assert verify(str(dst)).ok


def _without_markers(files):
    return {name: data for name, data in files.items() if not name.endswith("success.txt")}


def test_a_stopped_conversion_resumes_what_it_had(tmp_path, tiny):
    with pytest.raises(StopConversionError):
        run(tiny, tmp_path / "dst", on_progress=stop_after(6))
    assert not (tmp_path / "dst/checkpoint_00000000").exists()
    outcome = run(tiny, tmp_path / "dst")
    assert outcome.result.bytes_resumed > 0
    assert outcome.result.bytes_written > 0
    assert verify(str(tmp_path / "dst")).ok


def test_a_finished_chunk_that_lost_its_bytes_is_converted_again(tmp_path, tiny):
    with pytest.raises(StopConversionError):
        run(tiny, tmp_path / "dst", on_progress=stop_after(6))
    state = tmp_path / "dst/.partial/checkpoint_00000000/state"
    chunk = max((p for p in state.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    chunk.write_bytes(bytes(chunk.stat().st_size))
    run(tiny, tmp_path / "dst")
    assert verify(str(tmp_path / "dst")).ok


def test_an_unchanged_conversion_is_reused(tmp_path, tiny):
    run(tiny, tmp_path / "dst")
    outcome = run(tiny, tmp_path / "dst")
    assert outcome.reused
    assert outcome.result is None


def test_reuse_notices_a_missing_chunk(tmp_path, tiny):
    run(tiny, tmp_path / "dst")
    next((tmp_path / "dst").rglob("*final_ln.scale/0")).unlink()
    with pytest.raises(IntegrityError, match=r"final_ln\.scale/0 is missing"):
        run(tiny, tmp_path / "dst")


def test_another_fingerprint_is_refused_unless_overwritten(tmp_path, kit, tiny):
    run(tiny, tmp_path / "dst")
    with pytest.raises(InputError, match="holds a conversion with fingerprint"):
        run(tiny, tmp_path / "dst", Spec("bfloat16", 2))
    assert sorted(os.listdir(tmp_path / "dst")) == ["checkpoint_00000000", "report.json"]
    run(tiny, tmp_path / "dst", Spec("bfloat16", 2), overwrite=True)
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", kit.model(kit.GQA), "bfloat16")


def test_unfinished_work_of_another_fingerprint_is_refused_unless_overwritten(tmp_path, kit, tiny):
    with pytest.raises(StopConversionError):
        run(tiny, tmp_path / "dst", on_progress=stop_after(3))
    with pytest.raises(InputError, match="--overwrite"):
        run(tiny, tmp_path / "dst", Spec("bfloat16", 2))
    run(tiny, tmp_path / "dst", Spec("bfloat16", 2), overwrite=True)
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", kit.model(kit.GQA), "bfloat16")


def test_overwrite_makes_an_equal_checkpoint_anew(tmp_path, tiny):
    run(tiny, tmp_path / "dst")
    chunk = next((tmp_path / "dst").rglob("*final_ln.scale/0"))
    chunk.write_bytes(bytes(chunk.stat().st_size))
    assert not run(tiny, tmp_path / "dst", overwrite=True).reused
    assert verify(str(tmp_path / "dst")).ok


def test_a_damaged_report_is_refused_unless_overwritten(tmp_path, tiny):
    run(tiny, tmp_path / "dst")
    (tmp_path / "dst/report.json").write_text("{}")
    with pytest.raises(IntegrityError, match="convert again with --overwrite"):
        run(tiny, tmp_path / "dst")
    run(tiny, tmp_path / "dst", overwrite=True)
    assert verify(str(tmp_path / "dst")).ok


def test_a_directory_with_an_unknown_checkpoint_is_refused(tmp_path, tiny):
    (tmp_path / "dst/checkpoint_00000000/state").mkdir(parents=True)
    with pytest.raises(InputError, match="fingerprint unknown"):
        run(tiny, tmp_path / "dst")


def test_a_second_run_fails_at_once_and_names_the_pid(tmp_path, tiny):
    with (
        open_directory(str(tiny)) as files,
        Partial(
            tmp_path / "dst", Spec(mesh=2).fingerprint(read_source(files)), Share(), overwrite=False
        ),
        pytest.raises(BusyError, match=rf"pid {os.getpid()}\)"),
    ):
        run(tiny, tmp_path / "dst")


def test_tasks_share_the_directory_but_not_their_share(tmp_path, tiny):
    with open_directory(str(tiny)) as files:
        fingerprint = Spec(mesh=2).fingerprint(read_source(files))
    with Partial(tmp_path / "dst", fingerprint, Share(0, 2), overwrite=False):
        assert not run(tiny, tmp_path / "dst", share=Share(1, 2)).complete
        with pytest.raises(BusyError):
            run(tiny, tmp_path / "dst", share=Share(0, 2))
        with pytest.raises(BusyError):
            run(tiny, tmp_path / "dst")
    assert run(tiny, tmp_path / "dst", share=Share(0, 2)).complete


def test_a_run_stopped_before_its_root_marker_is_completed(tmp_path, tiny, monkeypatch):
    def stop(_):
        raise StopConversionError

    with monkeypatch.context() as patched:
        patched.setattr(Partial, "finish", stop)
        with pytest.raises(StopConversionError):
            run(tiny, tmp_path / "dst")
    assert not (tmp_path / "dst/checkpoint_00000000/commit_success.txt").exists()
    assert run(tiny, tmp_path / "dst").reused
    assert verify(str(tmp_path / "dst")).ok
    assert sorted(os.listdir(tmp_path / "dst")) == ["checkpoint_00000000", "report.json"]


def test_a_stopped_upload_resumes_from_the_listing(tiny, storage):
    with pytest.raises(StopConversionError):
        run(tiny, "gs://models/dst", on_progress=stop_after(6))
    assert not verify_markers()
    outcome = run(tiny, "gs://models/dst")
    assert outcome.result.bytes_resumed > 0
    assert verify("gs://models/dst").ok
    assert run(tiny, "gs://models/dst").reused


def verify_markers() -> list[str]:
    with open_directory("gs://models/dst") as directory:
        return [name for name in directory.entries() if name.endswith("commit_success.txt")]


def test_another_fingerprint_in_cloud_storage_is_refused_unless_overwritten(tiny, storage):
    with pytest.raises(StopConversionError):
        run(tiny, "gs://models/dst", on_progress=stop_after(3))
    with pytest.raises(InputError, match="--overwrite"):
        run(tiny, "gs://models/dst", Spec("bfloat16", 2))
    run(tiny, "gs://models/dst", Spec("bfloat16", 2), overwrite=True)
    assert verify("gs://models/dst").ok


def test_a_foreign_object_keeps_the_root_marker_away(tiny, storage):
    with pytest.raises(StopConversionError):
        run(tiny, "gs://models/dst", on_progress=stop_after(3))
    with open_directory("gs://models/dst") as directory:
        directory.overwrite("checkpoint_00000000/state/stranger/0", b"x")
    with pytest.raises(IntegrityError, match="stranger/0 does not belong"):
        run(tiny, "gs://models/dst")
    assert not verify_markers()


def test_a_foreign_file_in_the_partial_directory_is_never_published(tmp_path, tiny):
    with pytest.raises(StopConversionError):
        run(tiny, tmp_path / "dst", on_progress=stop_after(3))
    stranger = tmp_path / "dst/.partial/checkpoint_00000000/state/stranger"
    stranger.mkdir()
    (stranger / "0").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="stranger/0 does not belong"):
        run(tiny, tmp_path / "dst")
    assert not (tmp_path / "dst/checkpoint_00000000").exists()
    run(tiny, tmp_path / "dst", overwrite=True)
    assert verify(str(tmp_path / "dst")).ok


def test_a_stale_attempt_cannot_write_into_its_successor(tiny, storage):
    def overtaken(progress):
        if progress.bytes_done and not newer:
            newer.append(run(tiny, "gs://models/dst", Spec("bfloat16", 8), overwrite=True))

    newer = []
    with pytest.raises(BusyError, match="taken over by another conversion"):
        run(tiny, "gs://models/dst", Spec(mesh=1), on_progress=overtaken)
    assert newer[0].complete


def test_a_chunk_with_other_content_is_never_replaced(tiny, storage):
    name = "checkpoint_00000000/state/mdl_vars.params.lm.embedding_lookup.emb_var/0.0"
    with pytest.raises(StopConversionError):
        run(tiny, "gs://models/dst", on_progress=stop_after(1))
    with open_directory("gs://models/dst") as directory:
        directory.overwrite(name, b"not a chunk")
    with pytest.raises(IntegrityError, match=r"emb_var/0\.0 exists with other content"):
        run(tiny, "gs://models/dst")


def test_a_source_that_changes_meanwhile_is_noticed(tmp_path, kit):
    src = kit.meta(tmp_path / "src", kit.model(kit.MHA), kit.MetaFiles())

    def touch(progress):
        if progress.bytes_done == progress.bytes_total:
            os.utime(src / "consolidated.01.pth", ns=(1, 1))

    with pytest.raises(InputError, match=r"consolidated\.01\.pth changed while"):
        run(src, tmp_path / "dst", on_progress=touch)
    assert not (tmp_path / "dst/checkpoint_00000000").exists()
