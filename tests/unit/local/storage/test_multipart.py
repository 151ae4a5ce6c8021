from __future__ import annotations

import io

import pytest
from google.api_core import exceptions
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.storage.multipart import MultipartUpload, boundary_of

CONTENT_TYPE = 'multipart/related; boundary="==b=="'


def body(media: bytes, newline: bytes = b"\r\n") -> bytes:
    lines = [
        b"--==b==", b"content-type: application/json", b"", b'{"name": "o"}',
        b"--==b==", b"content-type: text/x", b"", media, b"--==b==--", b"",
    ]  # fmt: skip
    return newline.join(lines)


def receive(data: bytes, step: int) -> tuple[MultipartUpload, bytes]:
    stream = io.BytesIO(data)
    upload = MultipartUpload(lambda limit: stream.read(min(limit, step)), CONTENT_TYPE)
    return upload, b"".join(upload.media())


@given(st.binary(max_size=300), st.integers(1, 400), st.sampled_from([b"\r\n", b"\n"]))
def test_media_comes_out_as_it_went_in(media: bytes, step: int, newline: bytes) -> None:
    if newline == b"\n" and media.endswith(b"\r"):
        media += b"."
    upload, received = receive(body(media, newline), step)
    assert received == media
    assert upload.metadata == {"name": "o"}
    assert upload.content_type == "text/x"


@pytest.mark.parametrize("media", [b"\r\n--==b", b"\r\n--==x==", b"\n\n--", b"--==b==x"])
def test_media_that_looks_like_a_boundary(media: bytes) -> None:
    assert receive(body(media), 3)[1] == media


@pytest.mark.parametrize("cut", [5, 40, 60, 80, 100])
def test_truncated_bodies(cut: int) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="ends before"):
        receive(body(b"media")[:cut], 10)


@pytest.mark.parametrize("text", [b"{", b"[1]"])
def test_metadata_must_be_an_object(text: bytes) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="JSON"):
        receive(body(b"").replace(b'{"name": "o"}', text), 100)


def test_boundaries() -> None:
    assert boundary_of("multipart/related; boundary=abc; charset=x") == b"--abc"
    assert boundary_of("multipart/related; boundary='a b'") == b"--a b"
    with pytest.raises(exceptions.InvalidArgument, match="boundary"):
        boundary_of("multipart/related")
