from saxflow.conversion.journal import Journal, read_journals
from saxflow.conversion.written import Written

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


def test_no_journals(tmp_path):
    assert read_journals(tmp_path) == {}
    assert read_journals(tmp_path / "nowhere") == {}
