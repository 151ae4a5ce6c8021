import subprocess
import sys

import pytest

from saxflow import layout
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.report import Spec
from saxflow.conversion.task import (
    Ends,
    Progress,
    Share,
    owned_bytes,
    owned_chunks,
    peak_rss_bytes,
    run_task,
    write_document,
)


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
    one = write_document(LocalDirectory(tmp_path), "metadata/metadata", b"{}")
    assert (one.name, one.size_bytes) == ("metadata/metadata", 2)


def test_memory_has_a_peak():
    assert peak_rss_bytes() > 1 << 20


def test_peak_memory_is_this_programs_own_not_that_of_who_started_it():
    held = b"x" * (300 << 20)
    code = "from saxflow.conversion.task import peak_rss_bytes; print(peak_rss_bytes())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert 10 << 20 < int(said) < len(held)
