import json
from hashlib import md5

import pytest
from click.testing import CliRunner

from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.cli import app
from saxflow.conversion.digests import (
    check_digests,
    check_sha256,
    check_stored_md5,
    check_unchanged,
    read_checklist,
)
from saxflow.conversion.task import Share
from saxflow.errors import WeightsError


@pytest.fixture
def weights(tmp_path, kit):
    folder = kit.meta(tmp_path / "src", kit.model(kit.MHA), kit.MetaFiles())
    names = ["consolidated.00.pth", "consolidated.01.pth", "params.json"]
    lines = [f"{md5((folder / n).read_bytes()).hexdigest()}  {n}" for n in names]
    lines.append(f"{'0' * 32}  tokenizer.model")
    (folder / "checklist.chk").write_text("\n".join(lines) + "\n")
    return folder


def damage(folder):
    path = folder / "consolidated.01.pth"
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 1
    path.write_bytes(raw)


def test_a_checklist_that_holds(weights):
    size = sum(p.stat().st_size for p in weights.iterdir() if p.name != "checklist.chk")
    assert check_digests(LocalDirectory(weights)) == size


@pytest.mark.parametrize("form", ["{} *{}", "{}  ./{}", " {}  {}\r"])
def test_a_checklist_as_other_tools_write_it(weights, form):
    lines = (weights / "checklist.chk").read_text().split("\n")
    written = [form.format(*line.upper().split()) for line in lines if line]
    text = "\n".join(written).replace("CONSOLIDATED", "consolidated")
    text = text.replace(".PTH", ".pth").replace("PARAMS.JSON", "params.json")
    (weights / "checklist.chk").write_text(text)
    files = LocalDirectory(weights)
    names = ["consolidated.00.pth", "consolidated.01.pth", "params.json"]
    assert list(read_checklist(files, files.entries())) == names
    assert check_digests(files) > 0


def test_a_damaged_shard_is_named(weights):
    damage(weights)
    with pytest.raises(WeightsError, match=r"consolidated\.01\.pth has md5 \w+, but \w+ was"):
        check_digests(LocalDirectory(weights))


def test_a_listed_file_that_is_missing(weights):
    (weights / "consolidated.01.pth").unlink()
    with pytest.raises(WeightsError, match=r"consolidated\.01\.pth is missing, though a digest"):
        check_digests(LocalDirectory(weights))


def test_no_checklist_at_all(tiny):
    with pytest.raises(WeightsError, match=r"has no checklist\.chk"):
        check_digests(LocalDirectory(tiny))


def test_a_checklist_of_something_else(weights):
    (weights / "checklist.chk").write_text("hello\n")
    files = LocalDirectory(weights)
    with pytest.raises(WeightsError, match="no line of md5sum"):
        read_checklist(files, files.entries())


def test_the_command_checks_when_asked(tmp_path, weights):
    damage(weights)
    arguments = ["convert", str(weights), str(tmp_path / "dst"), "--check-digests"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, WeightsError)
    assert CliRunner().invoke(app, arguments[:-1]).exit_code == 0


def test_cloud_storages_own_md5_is_compared_without_reading(weights, storage):
    with open_directory("gs://models/w") as bucket:
        for path in weights.iterdir():
            bucket.overwrite(path.name, path.read_bytes())
        check_stored_md5(bucket)
        bucket.overwrite("consolidated.00.pth", b"other")
        with pytest.raises(WeightsError, match=r"consolidated\.00\.pth has md5"):
            check_stored_md5(bucket)
        bucket.delete("consolidated.00.pth")
        with pytest.raises(WeightsError, match=r"consolidated\.00\.pth is missing"):
            check_stored_md5(bucket)


def test_a_sha256_for_a_file_that_is_not_there(weights):
    with pytest.raises(WeightsError, match=r"consolidated\.07\.pth is missing"):
        check_sha256(LocalDirectory(weights), {"consolidated.07.pth": "0" * 64}, Share())


def test_tasks_share_the_files_to_digest(weights):
    promised = {"consolidated.00.pth": "0" * 64}
    check_sha256(LocalDirectory(weights), promised, Share(1, 2))
    with pytest.raises(WeightsError, match="sha256"):
        check_sha256(LocalDirectory(weights), promised, Share(0, 2))


def test_a_changed_document_is_noticed(weights):
    files = LocalDirectory(weights)
    source = read_source(files)
    check_unchanged(files, source)
    params = json.loads((weights / "params.json").read_text())
    (weights / "params.json").write_text(json.dumps(params | {"norm_eps": 1e-6}))
    with pytest.raises(WeightsError, match=r"params\.json changed while"):
        check_unchanged(files, source)
