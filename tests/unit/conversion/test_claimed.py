import pytest

from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.opening import open_directory
from saxflow.conversion.claimed import CLAIM, Claimed, claim_text
from saxflow.errors import BusyError

MINE, OTHERS = "0" * 12, "f" * 12


@pytest.fixture
def target(storage):
    with open_directory("gs://models/dst") as directory:
        directory.overwrite(CLAIM, claim_text(MINE))
        yield directory


def test_a_claimed_directory_is_like_any_other(target):
    with Claimed(target, MINE) as claimed:
        assert claimed.uri == target.uri
        claimed.create("a", [b"12345"], crc32c(b"12345"))
        claimed.overwrite("b", b"x")
        claimed.delete("b")
        assert set(claimed.entries()) == {"a", CLAIM}
        assert claimed.read("a", 1, 2) == b"23"
        buffer = bytearray(2)
        claimed.read_into("a", 3, memoryview(buffer))
        assert bytes(buffer) == b"45"


@pytest.mark.parametrize("taken", [True, False])
def test_nothing_is_written_once_the_claim_is_gone(target, taken):
    claimed = Claimed(target, MINE)
    target.overwrite(CLAIM, claim_text(OTHERS)) if taken else target.delete(CLAIM)
    before = target.entries()
    for write in (
        lambda: claimed.create("a", [b"x"], crc32c(b"x")),
        lambda: claimed.overwrite("a", b"x"),
        lambda: claimed.delete(CLAIM),
    ):
        with pytest.raises(BusyError, match=r"gs://models/dst was taken over by another"):
            write()
    assert target.entries() == before
