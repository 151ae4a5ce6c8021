import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from saxflow.cli import app
from saxflow.cli.convert import Bytes
from saxflow.cli.extras import extra
from saxflow.errors import ConfigurationError

META = Path(__file__).parents[2] / "data/golden/tiny_mha_2shards/meta"


def run(*arguments) -> tuple[int, dict]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, json.loads(result.stdout.splitlines()[-1])


def test_convert_prints_the_promised_fields(tmp_path):
    _, printed = run("convert", META, tmp_path / "dst")
    assert list(printed) == [
        "checkpoint", "variables", "bytes_read", "bytes_written", "seconds", "peak_rss_bytes",
        "reused", "resumed_bytes",
    ]  # fmt: skip
    assert printed["checkpoint"] == str(tmp_path / "dst/checkpoint_00000000")
    assert not printed["reused"]
    _, again = run("convert", META, tmp_path / "dst")
    assert again["reused"]
    assert again["bytes_read"] == 0


def test_verify_answers_one_when_something_is_wrong(tmp_path):
    run("convert", META, tmp_path / "dst")
    status, sound = run("verify", tmp_path / "dst")
    assert status == 0
    assert list(sound) == ["checkpoint", "ok", "variables", "chunks", "bytes", "problems"]
    assert sound["problems"] == []
    shutil.rmtree(next((tmp_path / "dst").rglob("*final_ln.scale")))
    status, broken = run("verify", tmp_path / "dst/checkpoint_00000000")
    assert status == 1
    assert not broken["ok"]
    assert set(broken["problems"][0]) == {"variable", "chunk", "reason"}


def test_verify_in_words(tmp_path):
    run("convert", META, tmp_path / "dst")
    shutil.rmtree(tmp_path / "dst/checkpoint_00000000/state")
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "dst")])
    assert "is missing" in result.stdout
    assert "and 17 more" in result.stdout


def test_convert_in_words(tmp_path):
    arguments = ["convert", str(META), str(tmp_path / "dst")]
    assert "17 variables" in CliRunner().invoke(app, arguments).stdout
    assert "is up to date" in CliRunner().invoke(app, arguments).stdout


def test_tasks_from_the_command_line(tmp_path):
    part = ("convert", META, tmp_path / "dst", "--task-count", 2, "--task-index")
    assert not (tmp_path / "dst/checkpoint_00000000").exists()
    run(*part, 0)
    run(*part, 1)
    assert run("verify", tmp_path / "dst")[1]["ok"]


def test_an_index_beyond_the_count_is_a_usage_error(tmp_path):
    result = CliRunner().invoke(app, ["convert", "a", "b", "--task-index", "1"])
    assert result.exit_code == 2
    assert "must be below" in result.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GiB", 1 << 30), ("512 MiB", 512 << 20), ("2GB", 2 * 10**9), ("1.5k", 1500), ("77", 77)],
)
def test_sizes(text, size):
    assert Bytes().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "many", "-1", "1TiB", "9" * 400])
def test_what_is_no_size(tmp_path, text):
    result = CliRunner().invoke(app, ["convert", "a", "b", f"--max-memory={text}"])
    assert result.exit_code == 2
    assert "is no size" in result.stderr


def import_nonsense():
    with extra("convert"):
        import nonsense  # noqa: F401


def test_a_missing_extra_is_named():
    with pytest.raises(ConfigurationError, match=r"nonsense is not installed.*saxflow\[convert\]"):
        import_nonsense()
