"""What is Cloud Storage's alone; what every directory does is in test_directory.py."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from saxflow.checkpoint.cloud_directory import CloudDirectory
from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.directory import crc32c_text
from saxflow.errors import (
    CloudError,
    InputError,
    IntegrityError,
    NotFoundError,
    WeightsError,
)


@pytest.fixture
def open_cloud(storage):
    """Open directories that are closed when the test ends."""
    opened = []

    def start(uri="gs://models/p"):
        opened.append(CloudDirectory(uri))
        return opened[-1]

    yield start
    for directory in opened:
        directory.close()


@pytest.fixture
def directory(open_cloud):
    return open_cloud()


def create(directory, name, data=b"x"):
    directory.create(name, [data], crc32c(data))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("gs://models", "gs://models"),
        ("gs://models/", "gs://models"),
        ("gs://models//", "gs://models"),
        ("gs://models/a/b//", "gs://models/a/b"),
        ("gs://models/a b/é", "gs://models/a b/é"),
    ],
)
def test_a_uri_is_shown_without_trailing_slashes(open_cloud, uri, shown):
    assert open_cloud(uri).uri == shown


@pytest.mark.parametrize("uri", ["gs://", "gs:///name", "gs:/models", "models", ""])
def test_what_names_no_bucket_is_refused_before_any_request(uri):
    with pytest.raises(InputError, match="is not a Cloud Storage URI; write gs://bucket/name"):
        CloudDirectory(uri)


NAMES = ["a b.json", "100%", "q?x=1&y#z", "été/😀.bin", "+plus+", "a//b", "%2F", "..", "quote'\""]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_all_kinds_are_written_listed_read_and_deleted(open_cloud, name):
    directory = open_cloud("gs://models/été & co")
    create(directory, name, b"content")
    assert set(directory.entries()) == {name}
    assert directory.read(name) == b"content"
    directory.delete(name)
    assert directory.entries() == {}


def test_neighbours_whose_names_begin_alike_do_not_belong(open_cloud):
    create(open_cloud("gs://models/p"), "mine")
    create(open_cloud("gs://models/pp"), "other")
    create(open_cloud("gs://models"), "p")
    assert set(open_cloud("gs://models/p").entries()) == {"mine"}


def test_placeholders_of_folders_are_no_files(directory):
    for name in ("", "folder/"):
        create(directory, name, b"")
    create(directory, "folder/file")
    assert set(directory.entries()) == {"folder/file"}
    assert directory.entries(recursive=False) == {}


def test_one_level_below_a_prefix(directory):
    for name in ("a/1", "a/b/2", "ab"):
        create(directory, name)
    assert set(directory.entries("a/", recursive=False)) == {"a/1"}
    assert set(directory.entries("a", recursive=False)) == {"ab"}


def test_a_listing_tells_size_digests_generation_and_time(directory):
    create(directory, "x", b"123456789")
    entry = directory.entries()["x"]
    assert entry.size_bytes == 9
    assert entry.crc32c == "4waSgw=="
    assert entry.md5 == "JfnnlDI7RTiF9RgfG2JNCw=="
    assert int(entry.generation) > 0
    assert entry.changed.startswith("20")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("progress.json", "application/json"), ("0.0", "application/octet-stream")],
)
def test_the_content_type_tells_workflows_what_to_decode(directory, storage, name, content_type):
    from google.cloud import storage as client_library

    create(directory, name, b"{}")
    client = client_library.Client(project="local")
    assert client.bucket("models").get_blob(f"p/{name}").content_type == content_type
    client.close()


@pytest.mark.parametrize("existing", [b"longer content", b"sane"])
def test_other_content_is_refused_with_both_sizes_and_digests(directory, existing):
    create(directory, "x", existing)
    with pytest.raises(IntegrityError) as caught:
        create(directory, "x", b"same")
    found, wanted = crc32c_text(crc32c(existing)), crc32c_text(crc32c(b"same"))
    assert str(caught.value) == (
        f"gs://models/p/x exists with other content ({len(existing)} bytes, crc32c {found};"
        f" 4 bytes, {wanted} were to be written); delete it and repeat"
    )
    assert caught.value.exit_code == 1


def test_pieces_of_wide_elements_count_in_bytes(directory):
    wide = memoryview(bytes(8)).cast("I")
    for _ in range(2):
        directory.create("x", [wide, b"end"], crc32c(b"end", crc32c(wide)))
    assert directory.read("x") == bytes(8) + b"end"


def test_writers_of_the_same_object_at_once_all_succeed(open_cloud):
    directory = open_cloud()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: create(directory, "x", b"same"), range(16)))
    assert directory.read("x") == b"same"


def test_of_different_writers_at_once_one_wins_and_the_others_are_told(directory):
    def write(number):
        try:
            create(directory, "x", bytes([number]))
        except IntegrityError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [one for one in pool.map(write, range(8)) if one is not None]
    assert [directory.read("x")] == [bytes(winners)]


def test_readers_at_once_each_get_their_range(directory):
    data = bytes(range(256)) * 64
    create(directory, "x", data)
    directory.entries()
    starts = range(0, len(data), 512)
    with ThreadPoolExecutor(8) as pool:
        pieces = list(pool.map(lambda start: directory.read("x", start, 512), starts))
    assert b"".join(pieces) == data


def test_ranges_at_and_beyond_the_end(directory):
    create(directory, "x", b"0123456789")
    assert directory.read("x", 4) == b"456789"
    assert directory.read("x", 10) == b""
    assert directory.read("x", 11) == b""
    assert directory.read("x", 0, 0) == b""
    with pytest.raises(IntegrityError, match=r"gs://models/p/x ends at byte 20; 3 more were exp"):
        directory.read_into("x", 20, memoryview(bytearray(3)))


def test_nothing_is_asked_of_a_missing_object_by_an_empty_read(directory):
    directory.read_into("missing", 0, memoryview(bytearray(0)))


@pytest.mark.parametrize("change", ["overwrite", "delete"])
def test_a_listed_file_that_changes_is_told_with_its_generation(open_cloud, change):
    reader, other = open_cloud(), open_cloud()
    create(reader, "x", b"one")
    generation = reader.entries()["x"].generation
    other.overwrite("x", b"two") if change == "overwrite" else other.delete("x")
    with pytest.raises(WeightsError) as caught:
        reader.read("x", 0, 3)
    assert str(caught.value) == (
        "gs://models/p/x changed or was deleted while it was being read"
        f" (generation {generation} is gone); repeat once it no longer changes"
    )
    assert caught.value.exit_code == 3


def test_a_new_listing_reads_the_new_generation(open_cloud):
    reader, other = open_cloud(), open_cloud()
    other.overwrite("x", b"one")
    reader.entries()
    other.overwrite("x", b"two")
    reader.entries()
    assert reader.read("x") == b"two"


def test_what_this_directory_replaces_or_deletes_itself_is_no_surprise(directory):
    directory.overwrite("x", b"one")
    directory.entries()
    directory.overwrite("x", b"two")
    assert directory.read("x", 0, 3) == b"two"
    directory.entries()
    directory.delete("x")
    with pytest.raises(NotFoundError, match=r"gs://models/p/x does not exist"):
        directory.read("x", 0, 3)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda d: d.entries(),
        lambda d: create(d, "x"),
        lambda d: d.overwrite("x", b"x"),
    ],
    ids=["list", "create", "overwrite"],
)
def test_a_missing_bucket_is_named_with_the_remedy(open_cloud, attempt):
    with pytest.raises(NotFoundError) as caught:
        attempt(open_cloud("gs://nowhere/p"))
    assert str(caught.value) == (
        "bucket gs://nowhere does not exist; create it or correct the name"
    )
    assert caught.value.exit_code == 4


def test_refusals_name_the_object_and_what_was_tried(directory, faults):
    create(directory, "x")
    for action, attempt in {
        "objects.get": lambda: directory.read("x", 0, 1),
        "objects.insert": lambda: directory.overwrite("x", b""),
        "objects.delete": lambda: directory.delete("x"),
        "objects.list": lambda: directory.entries(),
    }.items():
        faults.arm("storage", action, "return-403")
        with pytest.raises(CloudError, match=r"(read|write|delete|list) gs://models/p.*: 403"):
            attempt()


def test_connections_are_closed_with_the_block(storage):
    with CloudDirectory("gs://models/p") as directory:
        create(directory, "x")
        assert directory.read("x") == b"x"
    directory.close()


def test_another_generation_than_the_given_one_is_not_deleted(storage):
    with CloudDirectory("gs://models/dst") as directory:
        directory.overwrite("a", b"one")
        listed = directory.entries()["a"].generation
        directory.overwrite("a", b"two")
        directory.delete("a", generation=listed)
        assert directory.read("a") == b"two"
        directory.delete("a", generation=directory.entries()["a"].generation)
        directory.delete("a", generation=listed)
        assert directory.entries() == {}


def test_a_listing_tells_which_conversion_created_an_object(storage):
    with CloudDirectory("gs://models/dst") as directory:
        directory.create("a", [b"x"], crc32c(b"x"), origin="0123456789ab")
        directory.create("b", [b"x"], crc32c(b"x"))
        assert {n: e.origin for n, e in directory.entries().items()} == {
            "a": "0123456789ab",
            "b": "",
        }
