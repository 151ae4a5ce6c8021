import os

import pytest

from saxflow.conversion.partial import PARTIAL, Partial, sweep
from saxflow.conversion.task import Share
from saxflow.errors import BusyError, InputError

FINGERPRINT = "0123456789ab"


def open_partial(root, share=None, fingerprint=FINGERPRINT, *, overwrite=False):
    return Partial(root, fingerprint, share or Share(), overwrite=overwrite)


def test_a_lock_ends_with_its_holder(tmp_path):
    with open_partial(tmp_path), pytest.raises(BusyError), open_partial(tmp_path):
        pass
    with open_partial(tmp_path) as again:
        assert again.folder == tmp_path / PARTIAL


def test_a_refused_run_leaves_nothing_behind(tmp_path):
    (tmp_path / "checkpoint_00000000").mkdir()
    with pytest.raises(InputError), open_partial(tmp_path):
        pass
    assert os.listdir(tmp_path) == ["checkpoint_00000000"]


def test_work_of_another_fingerprint_is_kept_for_its_owner(tmp_path):
    with open_partial(tmp_path):
        pass
    with pytest.raises(InputError, match=FINGERPRINT), open_partial(tmp_path, fingerprint="f" * 12):
        pass
    with open_partial(tmp_path, fingerprint="f" * 12, overwrite=True):
        pass


def test_only_the_first_commits(tmp_path):
    with open_partial(tmp_path, Share(0, 2)) as one, open_partial(tmp_path, Share(1, 2)) as two:
        with one.committing() as first:
            assert first
            (one.folder / "commit.lock").unlink()
            one.folder.rename(tmp_path / "gone")
        with two.committing() as first:
            assert not first


def test_leftovers_are_swept_unless_somebody_is_at_work(tmp_path):
    with open_partial(tmp_path):
        sweep(tmp_path, FINGERPRINT)
        assert (tmp_path / PARTIAL).exists()
    sweep(tmp_path, FINGERPRINT)
    assert not (tmp_path / PARTIAL).exists()
    sweep(tmp_path, FINGERPRINT)


def test_tasks_that_overwrite_keep_what_the_others_have_done(tmp_path):
    with open_partial(tmp_path, fingerprint="f" * 12) as old:
        (old.folder / "checkpoint_00000000").mkdir()
    with open_partial(tmp_path, Share(0, 2), overwrite=True) as one:
        assert not (one.folder / "checkpoint_00000000").exists()
        (one.folder / "checkpoint_00000000").mkdir()
    with open_partial(tmp_path, Share(1, 2), overwrite=True) as two:
        assert (two.folder / "checkpoint_00000000").exists()
    with open_partial(tmp_path, overwrite=True) as alone:
        assert not (alone.folder / "checkpoint_00000000").exists()


def test_work_in_progress_is_never_overwritten(tmp_path):
    other = "f" * 12
    with open_partial(tmp_path, Share(0, 2)) as one:
        for share in (Share(0, 3), Share(0, 2), Share()):
            with (
                pytest.raises(BusyError, match=str(os.getpid())),
                open_partial(tmp_path, share, other, overwrite=True),
            ):
                pass
        assert (one.folder / "fingerprint").read_text() == FINGERPRINT
        with open_partial(tmp_path, Share(1, 2), overwrite=True):
            pass


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"unknown"])
def test_a_damaged_fingerprint_is_no_match(tmp_path, text):
    (tmp_path / PARTIAL).mkdir()
    (tmp_path / PARTIAL / "fingerprint").write_bytes(text)
    if text:
        with pytest.raises(InputError, match="give --overwrite"), open_partial(tmp_path):
            pass
    with open_partial(tmp_path, overwrite=True) as partial:
        assert (partial.folder / "fingerprint").read_text() == FINGERPRINT


@pytest.mark.parametrize("name", ["checkpoint_00000000", "report.json", ".partial"])
def test_something_else_in_the_place_of_ours_is_named(tmp_path, name):
    place = tmp_path / name
    place.mkdir() if name == "report.json" else place.write_bytes(b"x")
    with (
        pytest.raises(InputError, match=r"directory|file exists"),
        open_partial(tmp_path, overwrite=True),
    ):
        pass
