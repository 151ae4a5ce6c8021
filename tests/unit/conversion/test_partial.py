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
