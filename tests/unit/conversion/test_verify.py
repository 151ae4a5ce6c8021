"""Whatever happens to a finished checkpoint, verification notices."""

import json
import random
import shutil
from pathlib import Path

import pytest

from saxflow import layout
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.convert import Conversion, convert
from saxflow.conversion.report import Spec, compose, read_report
from saxflow.conversion.verify import bytes_to_read, parent_of_step, problem, verify
from saxflow.errors import IntegrityError, NotFoundError

STEP = "checkpoint_00000000"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny) -> Path:
    dst = tmp_path_factory.mktemp("verify") / "dst"
    make(tiny, dst)
    return dst


def make(src, dst, spec=None) -> None:
    with open_directory(str(src)) as files, open_directory(str(dst)) as target:
        convert(Conversion(files, read_source(files), target, spec or Spec(mesh=2)))


@pytest.fixture
def dst(tmp_path, whole) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "dst"))


def chunk_files(dst: Path) -> list[Path]:
    return sorted(p for p in (dst / STEP / "state").rglob("*") if p.is_file())


def flip(chance, dst):
    path = chance.choice(sorted(p for p in dst.rglob("*") if p.is_file()))
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def truncate(chance, dst):
    path = chance.choice(chunk_files(dst))
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def extend(chance, dst):
    path = chance.choice(chunk_files(dst))
    path.write_bytes(path.read_bytes() + bytes(chance.randrange(1, 100)))


def zero(chance, dst):
    path = chance.choice([p for p in chunk_files(dst) if any(p.read_bytes())])
    path.write_bytes(bytes(path.stat().st_size))


def remove(chance, dst):
    chance.choice(chunk_files(dst)).unlink()


def remove_variable(chance, dst):
    shutil.rmtree(chance.choice(chunk_files(dst)).parent)


def swap(chance, dst):
    first = chance.choice(chunk_files(dst))
    others = [p for p in chunk_files(dst) if p.read_bytes() != first.read_bytes()]
    same_size = [p for p in others if p.stat().st_size == first.stat().st_size]
    second = chance.choice(same_size or others)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def add_foreign(chance, dst):
    folder = chance.choice(chunk_files(dst)).parent
    (folder / f"{chance.randrange(50, 99)}.0").write_bytes(b"foreign")


def reshape(chance, dst):
    path = chance.choice([p for p in chunk_files(dst) if p.name == ".zarray" and "lm" in str(p)])
    document = json.loads(path.read_bytes())
    document["shape"][chance.randrange(len(document["shape"]))] += chance.choice([-1, 1])
    path.write_text(json.dumps(document))


def move_step(_chance, dst):
    (dst / STEP / "state/step/0").write_bytes(b"\x01\0\0\0")


def drop_marker(chance, dst):
    chance.choice(sorted(dst.rglob("commit_success.txt"))).unlink()


DAMAGES = [flip, flip, flip, truncate, extend, zero, remove, remove_variable, swap, swap,
           add_foreign, reshape, move_step, drop_marker]  # fmt: skip


def test_a_whole_checkpoint_is_sound(whole, kit):
    verdict = verify(str(whole))
    assert verdict.ok
    assert verdict.variables == len(layout.pax_variables(kit.GQA))
    assert verdict.chunks > verdict.variables
    assert verdict.bytes <= bytes_to_read(str(whole))
    assert verify(str(whole / STEP)) == verdict


@pytest.mark.parametrize("seed", range(100))
def test_random_damage_is_found(tmp_path, dst, seed):
    chance = random.Random(seed)
    damage = DAMAGES[seed % len(DAMAGES)]
    damage(chance, dst)
    assert is_found(dst), damage.__name__


def is_found(dst) -> bool:
    try:
        return not verify(str(dst)).ok
    except IntegrityError as error:
        return "report.json" in str(error)


def test_problems_name_variable_chunk_and_reason(dst):
    name = "mdl_vars.params.lm.final_ln.scale"
    (dst / STEP / "state" / name / "0").unlink()
    (found,) = verify(str(dst)).problems
    assert (found.variable, found.chunk) == (name, "0")
    assert "missing" in found.reason
    assert problem("metadata/metadata", "is odd").variable == "metadata/metadata"


def test_a_chunk_of_another_model_is_foreign(tmp_path, kit, dst):
    other = kit.meta(tmp_path / "other", kit.model(kit.GQA, seed=1), kit.MetaFiles())
    make(other, tmp_path / "theirs")
    relative = f"{STEP}/state/mdl_vars.params.lm.softmax.logits_ffn.linear.w/0.1"
    shutil.copy(tmp_path / "theirs" / relative, dst / relative)
    (found,) = verify(str(dst)).problems
    assert found.chunk == "0.1"
    assert "crc32c" in found.reason


def test_nothing_to_compare_with_is_said(tmp_path, dst):
    (dst / "report.json").unlink()
    with pytest.raises(NotFoundError, match=r"no report\.json"):
        verify(str(dst))
    with pytest.raises(NotFoundError, match="holds no checkpoint_00000000; give the DST"):
        verify(str(tmp_path / "nowhere"))


def test_compressed_checkpoints_are_verified_too(tmp_path, tiny):
    make(tiny, tmp_path / "dst", Spec(mesh=2, compressor="zstd"))
    assert verify(str(tmp_path / "dst")).ok
    flip(random.Random(3), tmp_path / "dst/checkpoint_00000000/state")
    assert not verify(str(tmp_path / "dst")).ok


def test_cloud_checkpoints_are_verified_by_reading(tiny, storage):
    make(tiny, "gs://models/dst")
    assert verify(f"gs://models/dst/{STEP}/").ok
    name = f"{STEP}/state/mdl_vars.params.lm.embedding_lookup.emb_var/1.0"
    with open_directory("gs://models/dst") as directory:
        data = bytearray(directory.read(name))
        data[7] ^= 1
        directory.overwrite(name, bytes(data))
    (found,) = verify("gs://models/dst").problems
    assert found.chunk == "1.0"


@pytest.mark.parametrize(
    ("given", "parent"),
    [
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        (f"/a/{STEP}", "/a"),
        (f"gs://b/x/{STEP}/", "gs://b/x"),
        (STEP, "."),
        (f"/{STEP}", "/"),
        ("/", "/"),
    ],
)
def test_the_step_directory_stands_for_its_parent(given, parent):
    assert parent_of_step(given) == parent


@pytest.fixture
def by_tasks(dst, tiny) -> Path:
    """A checkpoint as two Tasks leave it: digests are in their records, not in the report."""
    files = LocalDirectory(dst)
    report = read_report(files)
    source = read_source(LocalDirectory(tiny))
    document = compose(
        source, str(tiny), report.directory, report.spec, tasks=2, objects=[], figures={}
    )
    files.overwrite("report.json", document)
    written = list(report.objects.values())
    for index in range(2):
        objects = [
            {"name": one.name, "size": one.size_bytes, "crc32c": one.crc32c}
            for one in written[index::2]
        ]
        record = {"task": index, "count": 2, "objects": objects}
        files.overwrite(f"tasks/{index}-of-2.json", json.dumps(record).encode())
    return dst


def test_digests_from_the_records_of_tasks(by_tasks):
    assert verify(str(by_tasks)).ok
    chunk_files(by_tasks)[0].write_bytes(b"")
    assert len(verify(str(by_tasks)).problems) == 1


def test_a_missing_record_is_named(by_tasks):
    (by_tasks / "tasks/1-of-2.json").unlink()
    with pytest.raises(NotFoundError, match=r"tasks/1-of-2\.json does not exist"):
        verify(str(by_tasks))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"objects": 1}',
        '{"objects": [{"name": "a", "size": "x", "crc32c": ""}]}',
        '{"objects": [{"name": ["a"], "size": 1, "crc32c": ""}]}',
        "[" * 200_000,
    ],
)
def test_a_damaged_record_is_named_with_the_remedy(by_tasks, text):
    (by_tasks / "tasks/1-of-2.json").write_text(text)
    with pytest.raises(IntegrityError) as caught:
        verify(str(by_tasks))
    assert str(caught.value).startswith(f"{by_tasks}/tasks/1-of-2.json is damaged (")
    assert str(caught.value).endswith("); convert again")


def test_a_checkpoint_is_verified_from_within(dst, monkeypatch):
    monkeypatch.chdir(dst / STEP)
    assert verify(".").ok
    monkeypatch.chdir(dst / STEP / "state")
    assert verify("..").ok
