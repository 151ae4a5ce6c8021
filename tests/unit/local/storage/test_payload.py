from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import google_crc32c
import pytest
from google.api_core import exceptions

from saxflow.local.storage import payload as module
from saxflow.local.storage.payload import Payload, file_pieces, md5_of, promised_hashes


def digests(data: bytes) -> dict[str, str]:
    crc = google_crc32c.value(data).to_bytes(4, "big")
    md5 = hashlib.md5(data).digest()
    return {"crc32c": base64.b64encode(crc).decode(), "md5": base64.b64encode(md5).decode()}


def test_a_payload_knows_its_checksums(tmp_path: Path) -> None:
    payload = Payload(tmp_path / "p")
    payload.fill([b"ab", b"", b"cde"])
    assert (tmp_path / "p").read_bytes() == b"abcde"
    assert payload.size == 5
    assert {"crc32c": payload.crc32c, "md5": payload.md5} == digests(b"abcde")
    payload.check(digests(b"abcde"))
    with open(tmp_path / "p", "rb") as file:
        assert b"".join(file_pieces(file)) == b"abcde"


@pytest.mark.parametrize("kind", ["crc32c", "md5"])
def test_wrong_promises(tmp_path: Path, kind: str) -> None:
    payload = Payload(tmp_path / "p")
    payload.fill([b"data"])
    with pytest.raises(exceptions.InvalidArgument, match="doesn't match calculated"):
        payload.check({kind: digests(b"other")[kind]})
    payload.discard()
    assert not (tmp_path / "p").exists()


def test_large_payloads_skip_md5_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MD5_IN_PASSING_BYTES", 4)
    skipped, taken = Payload(tmp_path / "s"), Payload(tmp_path / "t", with_md5=True)
    for payload in (skipped, taken):
        payload.fill([b"abcdef"])
        payload.check({"md5": digests(b"abcdef")["md5"]})
    assert (skipped.md5, taken.md5) == ("", digests(b"abcdef")["md5"])
    assert md5_of(tmp_path / "s") == taken.md5


def test_promises_from_metadata_and_headers() -> None:
    fields = {"crc32c": "C", "md5Hash": "M"}
    assert promised_hashes(fields, "", "") == {"crc32c": "C", "md5": "M"}
    assert promised_hashes({}, "crc32c=C, md5=M==", "") == {"crc32c": "C", "md5": "M=="}
    assert promised_hashes({}, "", "M") == {"md5": "M"}
    assert promised_hashes({}, "sha=x", "") == {}


def test_what_found_no_room_was_not_received(
    tmp_path: Path, room: Callable[[int], AbstractContextManager[None]]
) -> None:
    payload = Payload(tmp_path / "p")
    with room(600), pytest.raises(OSError, match=r"(?i)space|large"):
        payload.fill([b"x" * 500, b"y" * 500])
    assert payload.size == 500
    payload.fill([b"z"])
    assert payload.path.read_bytes() == b"x" * 500 + b"z"
    payload.check(digests(b"x" * 500 + b"z"))
