import pytest

from saxflow.checkpoint.cloud_directory import CloudDirectory
from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.directory import crc32c_text, crc32c_value
from saxflow.checkpoint.opening import open_directory
from saxflow.errors import InputError, IntegrityError, NotFoundError

KINDS = ["local", "cloud"]


@pytest.fixture(params=KINDS)
def directory(request, tmp_path):
    if request.param == "cloud":
        request.getfixturevalue("storage")
        uri = "gs://models/some/where"
    else:
        uri = str(tmp_path / "where")
    with open_directory(uri) as opened:
        yield opened


def create(directory, name, data):
    directory.create(name, [data[:2], memoryview(data)[2:]], crc32c(data))


def test_what_is_created_is_listed_and_read(directory):
    create(directory, "a/b.bin", b"0123456789")
    create(directory, "c", b"x")
    assert {n: e.size_bytes for n, e in directory.entries().items()} == {"a/b.bin": 10, "c": 1}
    assert set(directory.entries("a/")) == {"a/b.bin"}
    assert set(directory.entries(recursive=False)) == {"c"}
    assert directory.read("a/b.bin") == b"0123456789"
    assert directory.read("a/b.bin", 3, 4) == b"3456"
    assert directory.read("a/b.bin", 8, 100) == b"89"
    assert directory.read("a/b.bin", 99, 1) == b""
    buffer = bytearray(4)
    directory.read_into("a/b.bin", 6, memoryview(buffer))
    assert bytes(buffer) == b"6789"


def test_creating_the_same_again_is_no_error(directory):
    create(directory, "a", b"same bytes")
    create(directory, "a", b"same bytes")
    assert directory.read("a") == b"same bytes"


def test_overwritten_and_deleted(directory):
    directory.overwrite("a", b"one")
    directory.overwrite("a", b"two")
    assert directory.read("a") == b"two"
    directory.delete("a")
    directory.delete("a")
    assert directory.entries() == {}


def test_empty_objects(directory):
    create(directory, "empty", b"")
    assert directory.read("empty") == b""
    assert directory.entries()["empty"].size_bytes == 0


def test_missing_files(directory):
    assert directory.entries("nothing/") == {}
    for attempt in (
        lambda: directory.read("nothing"),
        lambda: directory.read_into("nothing", 0, memoryview(bytearray(1))),
    ):
        with pytest.raises(NotFoundError, match="nothing does not exist"):
            attempt()


def test_a_file_that_ends_too_early(directory):
    create(directory, "short", b"123")
    with pytest.raises(IntegrityError, match="short ends at byte 3; 2 more"):
        directory.read_into("short", 0, memoryview(bytearray(5)))


def test_a_link_that_leads_nowhere_is_no_file(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "missing")
    (tmp_path / "b").write_bytes(b"x")
    with open_directory(str(tmp_path)) as directory:
        assert set(directory.entries()) == {"b"}


def test_cloud_entries_carry_digests(storage):
    with open_directory("gs://models") as directory:
        create(directory, "x", b"123456789")
        entry = directory.entries()["x"]
        assert entry.crc32c == crc32c_text(0xE3069283)
        assert entry.md5
        assert entry.generation


def test_other_content_is_never_replaced_in_cloud_storage(storage):
    with open_directory("gs://models/p") as directory:
        create(directory, "x", b"one")
        with pytest.raises(IntegrityError, match="gs://models/p/x exists with other content"):
            create(directory, "x", b"two")
        assert directory.read("x") == b"one"


def test_a_replaced_source_is_noticed(storage):
    with open_directory("gs://models/p") as reader, open_directory("gs://models/p") as writer:
        writer.overwrite("x", b"one")
        reader.entries()
        writer.overwrite("x", b"two")
        with pytest.raises(InputError, match="changed or was deleted while it was being read"):
            reader.read_into("x", 0, memoryview(bytearray(3)))


def test_listings_longer_than_a_page(storage):
    with open_directory("gs://models/many") as directory:
        for number in range(1005):
            create(directory, f"{number:04}", b"x")
        assert len(directory.entries()) == 1005


def test_a_missing_bucket(storage):
    with open_directory("gs://nowhere/p") as directory, pytest.raises(NotFoundError):
        directory.entries()


def test_crc32c_text_is_cloud_storages():
    assert crc32c_text(crc32c(b"123456789")) == "4waSgw=="
    assert crc32c_value("4waSgw==") == crc32c(b"6789", crc32c(b"12345"))


def test_uris(storage):
    assert CloudDirectory("gs://models/a/").uri == "gs://models/a"
    assert CloudDirectory("gs://models").uri == "gs://models"
