import pytest

from saxflow.checkpoint.opening import local_path, open_directory
from saxflow.errors import InputError


@pytest.mark.parametrize(
    ("uri", "path"), [("a/b", "a/b"), ("file:///a/b%20c", "/a/b c"), ("file://localhost/a", "/a")]
)
def test_local_uris(uri, path):
    assert str(local_path(uri)) == path


@pytest.mark.parametrize("uri", ["http://x/y", "s3://b/p", "file://host/x"])
def test_other_schemes(uri):
    with pytest.raises(InputError, match="neither a local path nor"):
        open_directory(uri)


@pytest.mark.parametrize("path", ["", "/a\0b", "file:///a%00b", "/a\udcffb", "file:///a%FFb\udcff"])
def test_paths_that_no_document_could_name(path):
    with pytest.raises(InputError, match="is no path"):
        open_directory(path)


def test_a_file_is_no_directory(tmp_path):
    file = tmp_path / "consolidated.00.pth"
    file.touch()
    for uri in (str(file), file.as_uri()):
        with pytest.raises(InputError, match="is a file; give a directory"):
            open_directory(uri)
