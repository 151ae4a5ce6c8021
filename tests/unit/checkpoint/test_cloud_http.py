"""Cloud Storage misbehaves in every way the emulator knows; transfers end right or say why."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from saxflow.checkpoint import cloud_http
from saxflow.checkpoint.cloud_directory import CloudDirectory
from saxflow.checkpoint.cloud_http import StorageHttp
from saxflow.checkpoint.digest import crc32c
from saxflow.errors import CloudError, ConfigurationError, IntegrityError, ProtocolError

DATA = bytes(range(256)) * 4096


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def directory(storage, pauses):
    with CloudDirectory("gs://models/p", StorageHttp(pauses.append)) as opened:
        yield opened


def create(directory, name="x"):
    directory.create(name, [DATA], crc32c(DATA))


TRANSIENT = ["return-503", "return-429", "return-500", "return-reset-connection"]


@pytest.mark.parametrize("action", [*TRANSIENT, "return-503-after-256K", "execute-and-timeout"])
def test_uploads_are_repeated_until_the_object_is_there(directory, faults, pauses, action):
    faults.arm("storage", "objects.insert", action, count=2)
    create(directory)
    assert directory.read("x") == DATA
    assert pauses


@pytest.mark.parametrize("action", [*TRANSIENT, "return-broken-stream"])
def test_downloads_are_continued(directory, faults, pauses, action):
    create(directory)
    faults.arm("storage", "objects.get", action, count=2)
    buffer = bytearray(len(DATA))
    directory.read_into("x", 0, memoryview(buffer))
    assert bytes(buffer) == DATA
    assert pauses


def test_a_stalled_download_is_continued(directory, faults, pauses, monkeypatch):
    monkeypatch.setattr(cloud_http, "STALL_SECONDS", 0.2)
    create(directory)
    faults.arm("storage", "objects.get", "stall-at-256KiB", stall_seconds=30.0)
    with CloudDirectory("gs://models/p", StorageHttp(pauses.append)) as impatient:
        assert impatient.read("x", 0, len(DATA)) == DATA
    assert pauses


def test_listings_are_repeated(directory, faults):
    create(directory)
    faults.arm("storage", "objects.list", "return-503", count=3)
    assert set(directory.entries()) == {"x"}


def test_deletions_are_repeated(directory, faults):
    create(directory)
    faults.arm("storage", "objects.delete", "return-503")
    directory.delete("x")
    assert directory.entries() == {}


def test_an_outage_ends_as_a_transient_failure(directory, faults, pauses):
    faults.arm("storage", "objects.insert", "return-503", count=None)
    with pytest.raises(
        CloudError, match=r"write gs://models/p/x: 503 .*after 8 attempts"
    ) as caught:
        create(directory)
    assert caught.value.exit_code == 6
    assert len(pauses) == cloud_http.ATTEMPTS - 1


def test_a_refusal_is_not_repeated(directory, faults, pauses):
    faults.arm("storage", "objects.insert", "return-403")
    with pytest.raises(CloudError) as caught:
        create(directory)
    assert caught.value.exit_code == 1
    assert not pauses


def test_a_wrong_crc32c_is_refused_by_the_service(directory):
    with pytest.raises((CloudError, IntegrityError)):
        directory.create("x", [DATA], crc32c(DATA) ^ 1)
    assert directory.entries() == {}


def test_without_credentials_the_remedy_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(ConfigurationError, match="gcloud auth application-default login"):
        StorageHttp()


class Stranger(BaseHTTPRequestHandler):
    """Answers every GET with the server's `body`."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def stranger(monkeypatch):
    """A server that is not Cloud Storage, where Cloud Storage is looked for."""
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "body", [b"", b"<html>Sign in</html>", b"\xff", b"[]", b"null", b"[" * 200_000]
)
def test_a_server_that_is_not_cloud_storage(stranger, body):
    stranger.body = body
    with CloudDirectory("gs://models/p") as directory:
        for attempt, what in {
            directory.entries: "list gs://models/p",
            lambda: directory.read("x"): "stat gs://models/p/x",
        }.items():
            with pytest.raises(ProtocolError) as caught:
                attempt()
            assert str(caught.value) == (
                f"{what}: http://127.0.0.1:{stranger.server_port} answered what is no JSON"
                " object; is Cloud Storage there?"
            )
