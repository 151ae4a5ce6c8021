import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from saxflow.checkpoint.cloud_directory import CloudDirectory
from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.claimed import CLAIM, CLEARING, claim_text
from saxflow.conversion.convert import Conversion, Outcome, convert, is_reusable
from saxflow.conversion.report import Spec, read_report
from saxflow.conversion.task import Share
from saxflow.errors import InputError, IntegrityError

GOLDEN = Path(__file__).parents[2] / "data/golden/tiny_mha_2shards"


def run(src, dst, spec=None, *, share=None, overwrite=False) -> Outcome:
    with open_directory(str(src)) as files, open_directory(str(dst)) as target:
        work = Conversion(
            files, read_source(files), target, spec or Spec(), share or Share(), overwrite=overwrite
        )
        return convert(work)


def test_the_golden_checkpoint_comes_out_equal(tmp_path, kit):
    outcome = run(GOLDEN / "meta", tmp_path)
    step = tmp_path / "checkpoint_00000000"
    assert outcome.checkpoint == str(step)
    real = GOLDEN / "pax/checkpoint_00000000"
    ours, theirs = kit.read(step), kit.read(real)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype
        assert np.array_equal(ours[name].view(np.uint16), value.view(np.uint16)), name
        zarrays = [json.loads((s / "state" / name / ".zarray").read_text()) for s in (step, real)]
        assert zarrays[0].pop("compressor") is None
        assert zarrays[1].pop("compressor") == {"id": "zstd", "level": 1}
        assert zarrays[0] == zarrays[1]
    documents = [json.loads((s / "metadata/metadata").read_text()) for s in (step, real)]
    assert documents[0] == documents[1]
    assert (step / "state/step/0").read_bytes() == bytes(4)


@pytest.mark.parametrize("mesh", [1, 2, 3, 8])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_any_mesh_and_dtype_hold_the_model(tmp_path, kit, mesh, dtype):
    model = kit.model(kit.GQA)
    src = kit.meta(tmp_path / "src", model, kit.MetaFiles())
    run(src, tmp_path / "dst", Spec(dtype, mesh))
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", model, dtype)


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("source_dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_any_number_of_shards_and_source_dtypes(tmp_path, kit, shards, source_dtype):
    model = kit.model(kit.MHA, source_dtype)
    how = kit.MetaFiles(shards, source_dtype)
    run(kit.meta(tmp_path / "src", model, how), tmp_path / "dst", Spec(mesh=4))
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", model)


def test_llama_3_cuts_its_embedding_by_rows(tmp_path, kit):
    model = kit.model(kit.GQA)
    src = kit.meta(tmp_path / "src", model, kit.MetaFiles(2, embedding_axis=0))
    run(src, tmp_path / "dst", Spec(mesh=2))
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", model)


def test_key_and_value_heads_repeated_over_shards(tmp_path, kit):
    model = kit.model(kit.GQA)
    src = kit.meta(tmp_path / "src", model, kit.MetaFiles(4, kv_copies=2))
    run(src, tmp_path / "dst", Spec(mesh=2))
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", model)


@pytest.mark.parametrize("files", [1, 3])
def test_safetensors_have_their_rotary_order_undone(tmp_path, kit, files):
    model = kit.model(kit.GQA)
    src = kit.hugging_face(tmp_path / "src", model, files=files)
    run(src, tmp_path / "dst", Spec(mesh=2))
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", model)


def test_tied_embeddings_are_stored_twice(tmp_path, kit):
    model = kit.model(kit.GQA)
    model.tensors["output.weight"] = model.tensors["tok_embeddings.weight"]
    src = kit.hugging_face(tmp_path / "src", model, tied=True)
    run(src, tmp_path / "dst")
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", model)


@pytest.mark.parametrize("compressor", ["zstd", "blosc"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_compressed_chunks_hold_the_same_values(tmp_path, kit, tiny, compressor, dtype):
    run(tiny, tmp_path / "dst", Spec(dtype, 2, compressor))
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", kit.model(kit.GQA), dtype)


@pytest.mark.parametrize("count", [2, 5])
def test_any_number_of_tasks_gives_the_same_bytes(tmp_path, kit, tiny, count):
    run(tiny, tmp_path / "one", Spec(mesh=2))
    outcomes = [
        run(tiny, tmp_path / "many", Spec(mesh=2), share=Share(i, count)) for i in range(count)
    ]
    assert [o.complete for o in outcomes] == [False] * (count - 1) + [True]
    one, many = (kit.tree(tmp_path / p / "checkpoint_00000000") for p in ("one", "many"))
    for files in (one, many):
        for marker in [name for name in files if name.endswith("commit_success.txt")]:
            del files[marker]
    assert one == many
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == [
        "checkpoint_00000000",
        "report.json",
    ]


def test_local_and_cloud_hold_the_same_objects(tmp_path, kit, tiny, storage):
    run(tiny, tmp_path / "dst", Spec(mesh=2))
    outcome = run(tiny, "gs://models/llama/7b", Spec(mesh=2))
    assert outcome.checkpoint == "gs://models/llama/7b/checkpoint_00000000"
    with (
        open_directory("gs://models/llama/7b") as cloud,
        open_directory(str(tmp_path / "dst")) as disk,
    ):
        names = set(cloud.entries())
        assert names == {*disk.entries(), "claim.json"}
        for name in names - {"claim.json", "report.json"}:
            if not name.endswith("commit_success.txt"):
                assert cloud.read(name) == disk.read(name), name
        assert read_report(cloud).objects.keys() == read_report(disk).objects.keys()


def test_everything_is_on_the_disk_before_the_root_marker_says_so(tmp_path, tiny, monkeypatch):
    flushed, fsync = [], os.fsync

    def record(descriptor):
        fsync(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        flushed.append(os.path.relpath(path, tmp_path / "dst"))

    monkeypatch.setattr(os, "fsync", record)
    run(tiny, tmp_path / "dst")
    step = tmp_path / "dst/checkpoint_00000000"
    tree = [os.path.relpath(p, tmp_path / "dst") for p in (step, *step.rglob("*"))]
    tree.remove("checkpoint_00000000/commit_success.txt")
    renamed, marked = flushed.index("."), flushed.index(".partial/commit_success.txt")
    assert {f".partial/{path}" for path in tree} <= set(flushed[:renamed])
    assert "report.json" in flushed[:renamed]
    assert renamed < marked
    assert "checkpoint_00000000" in flushed[marked:]


def test_a_source_in_cloud_storage(tmp_path, kit, tiny, storage):
    with open_directory("gs://models/weights") as bucket:
        for path in tiny.iterdir():
            bucket.overwrite(path.name, path.read_bytes())
    run("gs://models/weights", tmp_path / "dst", Spec(mesh=2))
    kit.assert_holds(tmp_path / "dst/checkpoint_00000000", kit.model(kit.GQA))


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"{}", b'"x"', b"[" * 200_000])
def test_a_claim_that_nobody_can_read(tiny, storage, text):
    with CloudDirectory("gs://models/dst") as target:
        target.overwrite("claim.json", text)
    with pytest.raises(IntegrityError) as caught:
        run(tiny, "gs://models/dst")
    assert str(caught.value) == "gs://models/dst/claim.json is damaged; give --overwrite"
    assert run(tiny, "gs://models/dst", overwrite=True).complete


def test_objects_that_no_claim_covers_are_not_taken_for_finished_chunks(tiny, storage):
    name = "checkpoint_00000000/state/mdl_vars.params.lm.final_ln.scale/0"
    with open_directory("gs://models/dst") as target:
        target.overwrite(name, b"x" * 128)
    with pytest.raises(InputError, match=r"gs://models/dst holds a checkpoint_00000000 without"):
        run(tiny, "gs://models/dst")
    assert run(tiny, "gs://models/dst", overwrite=True).complete
    with open_directory("gs://models/dst") as target:
        assert target.read(name) != b"x" * 128


def test_tasks_that_overwrite_in_cloud_storage_keep_what_the_others_have_done(tiny, storage):
    run(tiny, "gs://models/dst", Spec("bfloat16"))
    for _ in range(2):
        first = run(tiny, "gs://models/dst", share=Share(1, 2), overwrite=True)
        assert not first.complete
        second = run(tiny, "gs://models/dst", share=Share(0, 2), overwrite=True)
        assert second.complete
        assert not second.reused


class Interrupted(CloudDirectory):
    """Before its first deletion something else happens."""

    def __init__(self, uri, happens):
        super().__init__(uri)
        self._happens = [happens]

    def delete(self, name, *, generation=None):
        while self._happens:
            self._happens.pop()()
        super().delete(name, generation=generation)


def test_a_task_that_clears_late_leaves_what_another_has_begun(tiny, storage):
    run(tiny, "gs://models/dst", Spec("bfloat16"))

    def other_task():
        assert not run(tiny, "gs://models/dst", share=Share(1, 2), overwrite=True).complete

    with open_directory(str(tiny)) as files, Interrupted("gs://models/dst", other_task) as target:
        work = Conversion(
            files, read_source(files), target, Spec(), share=Share(0, 2), overwrite=True
        )
        assert convert(work).complete
    assert run(tiny, "gs://models/dst").reused


def test_what_an_older_conversion_writes_while_it_is_cleared_goes_too(tiny, storage):
    run(tiny, "gs://models/dst", Spec("bfloat16"))
    name = "checkpoint_00000000/state/mdl_vars.params.lm.final_ln.scale/0"

    def late():
        with CloudDirectory("gs://models/dst") as target:
            target.delete(name)
            target.create(name, [b"late"], crc32c(b"late"), origin="0" * 12)

    with open_directory(str(tiny)) as files, Interrupted("gs://models/dst", late) as target:
        work = Conversion(files, read_source(files), target, Spec(), overwrite=True)
        assert convert(work).complete
        origins = {e.origin for e in target.entries("checkpoint_00000000/").values()}
    assert origins == {work.fingerprint}


def test_a_conversion_that_was_stopped_while_it_cleared_is_not_resumed(tiny, storage):
    run(tiny, "gs://models/dst", Spec("bfloat16"))
    with open_directory("gs://models/dst") as target:
        target.delete("checkpoint_00000000/commit_success.txt")
        target.overwrite(CLAIM, claim_text(CLEARING))
    for spec in (Spec(), Spec("bfloat16")):
        with pytest.raises(InputError, match="give --overwrite"):
            run(tiny, "gs://models/dst", spec)
    assert run(tiny, "gs://models/dst", overwrite=True).complete


def test_a_claim_of_another_conversion_is_told_with_both_fingerprints(tiny, storage):
    with CloudDirectory("gs://models/dst") as target:
        target.overwrite("claim.json", b'{"fingerprint": "0123456789ab"}')
    with pytest.raises(InputError) as caught:
        run(tiny, "gs://models/dst")
    assert str(caught.value).startswith(
        "gs://models/dst holds a conversion with fingerprint 0123456789ab, this one has "
    )
    assert str(caught.value).endswith("; choose another directory or give --overwrite")


def test_only_a_committed_checkpoint_is_reusable(tmp_path, tiny):
    with open_directory(str(tiny)) as files, open_directory(str(tmp_path / "dst")) as target:
        work = Conversion(files, read_source(files), target, Spec())
        assert not is_reusable(work)
        convert(work)
        assert is_reusable(work)
        assert not is_reusable(replace(work, overwrite=True))
        with pytest.raises(InputError, match="choose another directory or give --overwrite"):
            is_reusable(replace(work, spec=Spec(mesh=2)))
        (tmp_path / "dst/checkpoint_00000000/commit_success.txt").unlink()
        assert not is_reusable(work)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"short"), "has another size"),
    ],
)
def test_a_committed_checkpoint_that_lost_something_is_not_reused(tmp_path, tiny, change, state):
    run(tiny, tmp_path)
    name = "checkpoint_00000000/state/mdl_vars.params.lm.final_ln.scale/0"
    change(tmp_path / name)
    with pytest.raises(IntegrityError) as caught:
        run(tiny, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is committed, but {name} {state}; convert again with --overwrite"
    )
    assert run(tiny, tmp_path, overwrite=True).complete
