import subprocess
import sys

import pytest

from saxflow import layout
from saxflow.checkpoint.cloud_directory import CloudDirectory
from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.report import Spec
from saxflow.conversion.task import (
    Ends,
    Progress,
    Share,
    TaskResult,
    existing_objects,
    largest_chunk,
    owned_bytes,
    owned_chunks,
    peak_rss_bytes,
    plan_jobs,
    run_task,
    write_document,
)
from saxflow.conversion.written import Written
from saxflow.errors import IntegrityError

MINE, OTHERS = "0" * 12, "f" * 12


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_every_chunk_has_one_owner(kit, tiny, count):
    source = read_source(LocalDirectory(tiny))
    spec = Spec(mesh=4)
    owned = [owned_chunks(source, spec, Share(index, count)) for index in range(count)]
    names = [chunk.name for chunks in owned for chunk in chunks]
    assert names == [chunk.name for chunk in layout.all_chunks(kit.GQA, "float16", 4)]
    whole = owned_bytes(source, spec, Share())
    assert sum(owned_bytes(source, spec, Share(i, count)) for i in range(count)) == whole


def test_progress_is_monotone_and_ends_complete(tmp_path, tiny):
    seen: list[Progress] = []
    with open_directory(str(tiny)) as files, open_directory(str(tmp_path)) as target:
        source = read_source(files)
        run_task(Ends(files, target), source, Spec(), Share(), on_progress=seen.append)
    done = [progress.bytes_done for progress in seen]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == seen[-1].bytes_total


def test_rate_and_time_left():
    progress = Progress(600, 1000, 200, 2.0)
    assert progress.bytes_per_second == 200.0
    assert progress.eta_seconds == 2.0
    assert Progress(0, 10, 0, 0.0).eta_seconds is None


def test_less_memory_gives_the_same_bytes(tmp_path, kit, tiny):
    for name, memory in (("small", 33 << 20), ("large", 1 << 30)):
        with open_directory(str(tiny)) as files, open_directory(str(tmp_path / name)) as target:
            source, spec = read_source(files), Spec(mesh=4)
            run_task(Ends(files, target), source, spec, Share(), max_memory=memory)
    small, large = (kit.tree(tmp_path / n / "checkpoint_00000000") for n in ("small", "large"))
    assert small == large


def test_documents_are_accounted_for(tmp_path):
    one = write_document(LocalDirectory(tmp_path), "metadata/metadata", b"{}", MINE)
    assert (one.name, one.size_bytes) == ("metadata/metadata", 2)


def test_memory_has_a_peak():
    assert peak_rss_bytes() > 1 << 20


def test_peak_memory_is_this_programs_own_not_that_of_who_started_it():
    held = b"x" * (300 << 20)
    code = "from saxflow.conversion.task import peak_rss_bytes; print(peak_rss_bytes())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert 10 << 20 < int(said) < len(held)


@pytest.fixture
def finished(tmp_path, tiny):
    """A Task's result on disk, its chunks, and their files."""
    files, target = LocalDirectory(tiny), LocalDirectory(tmp_path / "dst")
    source, spec = read_source(files), Spec(mesh=2)
    result = run_task(Ends(files, target), source, spec, Share())
    chunks = owned_chunks(source, spec, Share())
    return target, chunks, {one.name: one for one in result.objects}


def test_finished_chunks_are_known_by_journal_and_bytes(finished):
    target, chunks, written = finished
    existing = existing_objects(target, chunks, Spec(mesh=2), MINE)
    assert existing == {chunk.name: written[chunk.name] for chunk in chunks}
    assert existing_objects(target, chunks[:1], Spec(mesh=2), MINE).keys() == {chunks[0].name}


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.write_bytes(path.read_bytes()[:-2]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(b""),
    ],
    ids=["gone", "zeros", "shorter", "longer", "empty"],
)
def test_a_chunk_that_is_not_as_it_was_written_counts_as_absent(finished, change):
    target, chunks, _ = finished
    change(target.root / layout.STEP_DIRECTORY / chunks[3].name)
    existing = existing_objects(target, chunks, Spec(mesh=2), MINE)
    assert {chunk.name for chunk in chunks} - existing.keys() == {chunks[3].name}


def test_chunks_without_a_journal_count_as_absent(finished):
    target, chunks, _ = finished
    for path in (target.root / "tasks").iterdir():
        path.unlink()
    assert existing_objects(target, chunks, Spec(mesh=2), MINE) == {}


def test_nothing_exists_before_the_first_run(tmp_path, finished):
    _, chunks, _ = finished
    assert existing_objects(LocalDirectory(tmp_path / "new"), chunks, Spec(mesh=2), MINE) == {}
    assert existing_objects(LocalDirectory(tmp_path / "new"), [], Spec(mesh=2), MINE) == {}


def test_in_cloud_storage_the_listing_tells_what_exists(finished, storage):
    local, chunks, written = finished
    first, second, third = chunks[:3]
    with CloudDirectory("gs://models/dst") as target:
        for chunk, data in {
            first: local.read(f"{layout.STEP_DIRECTORY}/{first.name}"),
            second: b"cut",
        }.items():
            target.create(
                f"{layout.STEP_DIRECTORY}/{chunk.name}", [data], crc32c(data), origin=MINE
            )
        plain = existing_objects(target, [first, second, third], Spec(mesh=2), MINE)
        assert plain == {first.name: written[first.name]}
        packed = existing_objects(
            target, [first, second, third], Spec(mesh=2, compressor="zstd"), MINE
        )
        assert packed.keys() == {first.name, second.name}
        assert packed[second.name] == Written.of(second.name, b"cut")


@pytest.mark.parametrize("origin", ["", OTHERS])
def test_an_object_of_another_conversion_is_no_finished_chunk(finished, tiny, storage, origin):
    local, (chunk, *_), written = finished
    name = f"{layout.STEP_DIRECTORY}/{chunk.name}"
    late = bytes(written[chunk.name].size_bytes)
    with CloudDirectory("gs://models/dst") as target:
        target.create(name, [late], crc32c(late), origin=origin)
        assert existing_objects(target, [chunk], Spec(mesh=2), MINE) == {}
        source = read_source(LocalDirectory(tiny))
        for _ in range(2):
            with pytest.raises(IntegrityError, match=f"{chunk.name} exists with other content"):
                run_task(Ends(LocalDirectory(tiny), target), source, Spec(mesh=2), Share())
        target.delete(name)
        result = run_task(Ends(LocalDirectory(tiny), target), source, Spec(mesh=2), Share())
        assert target.read(name) == local.read(name)
        assert {one.name: one for one in result.objects} == written


def test_the_largest_chunk(finished):
    _, chunks, written = finished
    assert largest_chunk(chunks, Spec(mesh=2)) == max(
        written[chunk.name].size_bytes for chunk in chunks
    )
    assert largest_chunk([], Spec()) == 0


def test_jobs_hold_every_chunk_once(finished, tiny):
    _, chunks, _ = finished
    source = read_source(LocalDirectory(tiny))
    for job_bytes in (1, 1 << 30):
        planned = plan_jobs(chunks, source, Spec(mesh=2), job_bytes)
        names = [chunk.name for job in planned for chunk in job.chunks]
        assert sorted(names) == sorted(chunk.name for chunk in chunks)
    assert plan_jobs([], source, Spec(), 1) == []


def test_a_result_tells_what_it_cost():
    result = TaskResult((), 10, 20, 5, 1.23456, {"output.weight": 2})
    figures = result.figures()
    assert figures.pop("peak_rss_bytes") > 0
    assert figures == {
        "bytes_read": 10,
        "bytes_written": 20,
        "bytes_resumed": 5,
        "clamped": {"output.weight": 2},
        "seconds": 1.235,
    }


def test_a_task_that_is_repeated_reads_nothing(finished, tiny):
    target, chunks, written = finished
    files = LocalDirectory(tiny)
    again = run_task(Ends(files, target), read_source(files), Spec(mesh=2), Share())
    assert again.bytes_read == 0
    assert again.bytes_resumed == sum(written[chunk.name].size_bytes for chunk in chunks)
    assert {one.name: one for one in again.objects} == written


def test_more_tasks_than_chunks_leave_some_without_work(tmp_path, tiny):
    files = LocalDirectory(tiny)
    source = read_source(files)
    idle = next(i for i in range(1, 500) if not owned_chunks(source, Spec(), Share(i, 500)))
    ends = Ends(files, LocalDirectory(tmp_path / "dst"))
    result = run_task(ends, source, Spec(), Share(idle, 500))
    assert (result.objects, result.bytes_read, result.bytes_written) == ((), 0, 0)
