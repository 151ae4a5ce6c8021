import errno
import json
import os

import pytest

from saxflow.conversion.journal import Journal, read_journals
from saxflow.conversion.written import Written
from saxflow.errors import ConfigurationError, InputError

ONE, TWO = Written("state/a/0", 3, "AAAAAA=="), Written("state/b/0", 4, "BBBBBB==")


def test_what_is_appended_is_read(tmp_path):
    journal = Journal(tmp_path, 0, 2)
    journal.append([ONE])
    journal.close()
    other = Journal(tmp_path, 1, 2)
    other.append([TWO])
    other.close()
    assert read_journals(tmp_path) == {ONE.name: ONE, TWO.name: TWO}


def test_a_line_that_was_cut_is_ignored_and_ended(tmp_path):
    journal = Journal(tmp_path, 0, 1)
    journal.append([ONE, TWO])
    journal.close()
    path = tmp_path / "0-of-1.journal"
    path.write_bytes(path.read_bytes()[:-5])
    assert set(read_journals(tmp_path)) == {ONE.name}
    again = Journal(tmp_path, 0, 1)
    again.append([TWO])
    again.close()
    assert set(read_journals(tmp_path)) == {ONE.name, TWO.name}


def test_the_last_line_about_a_chunk_counts(tmp_path):
    journal = Journal(tmp_path, 0, 1)
    journal.append([ONE])
    journal.append([Written(ONE.name, 9, "CCCCCC==")])
    journal.close()
    assert read_journals(tmp_path)[ONE.name].size_bytes == 9


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        "null",
        '["a", 1]',
        '["a", "x", "A"]',
        '["a", 1e999, "A"]',
        '["a", NaN, "A"]',
        "[" * 200_000,
        "\0" * 40,
        "\ufffd",
    ],
)
def test_a_line_that_says_nothing_is_ignored(tmp_path, line):
    known = json.dumps([ONE.name, ONE.size_bytes, ONE.crc32c])
    (tmp_path / "0-of-1.journal").write_text(f"{line}\n{known}\n", "utf-8")
    assert read_journals(tmp_path) == {ONE.name: ONE}


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    journal = Journal(tmp_path, 0, 1)

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(ConfigurationError) as caught:
        journal.append([ONE])
    monkeypatch.undo()
    journal.close()
    assert str(caught.value) == (
        f"{tmp_path}/0-of-1.journal: no space left on device; choose another disk or make room"
    )


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=f"{tmp_path}/file/journals"):
        Journal(tmp_path / "file/journals", 0, 1)


def test_no_journals(tmp_path):
    assert read_journals(tmp_path) == {}
    assert read_journals(tmp_path / "nowhere") == {}
