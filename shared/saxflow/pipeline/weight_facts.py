"""Learn what a plan must know of the weights: one listing and two small files, no tensor data."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from saxflow.errors import CloudError, InputError, WeightsError
from saxflow.gcp.objects import Objects, Uri
from saxflow.manifest import IDS_TOKENIZER, Manifest
from saxflow.plan import WeightFacts, tokenizer_candidates, weight_facts
from saxflow.plan.facts import check_listing, document_name
from saxflow.weights import SourceFile

MAX_DOCUMENT_BYTES = 16 << 20
"""params.json and tokenizer.model are read into memory; Llama's are below 3 MB."""


def gather(objects: Objects, manifest: Manifest) -> WeightFacts:
    """Return the facts about a manifest's weights in Cloud Storage.

    Raises:
        InputError: the source is not in Cloud Storage, or we may not look into it.
        WeightsError: files are missing or contradict each other; the message names them.
        CloudError: a service could not be reached.
    """
    source = manifest.weights.source
    if not source.startswith("gs://"):
        raise InputError(
            f"weights.source {source!r} is not in Cloud Storage; copy the weights to a bucket"
            " and name it as gs://..."
        )
    place = Uri.parse(source.rstrip("/")).child("")
    with _refused_as_input(source):
        listing = _listing(objects, place)
        check_listing(listing, source)
        tokenizer_uri, tokenizer = _tokenizer(objects, manifest)
        document = _read(objects, place.child(document_name(listing)))
    return weight_facts(listing, document, tokenizer_uri, source=source, tokenizer=tokenizer)


def _listing(objects: Objects, place: Uri) -> list[SourceFile]:
    return [
        SourceFile(
            item.uri.name.removeprefix(place.name), item.size_bytes, item.crc32c, item.generation
        )
        for item in objects.list(place, delimiter="/")
    ]


@contextmanager
def _refused_as_input(source: str) -> Generator[None]:
    """A bucket that is not there, or closed to us, is the user's to mend; do not try it again."""
    try:
        yield
    except CloudError as error:
        if error.code not in (403, 404):
            raise
        raise InputError(
            f"weights.source {source!r} cannot be read: {error}; correct the bucket, or let our"
            " service account read it (roles/storage.objectViewer)"
        ) from error


def _tokenizer(objects: Objects, manifest: Manifest) -> tuple[str, bytes | None]:
    candidates = tokenizer_candidates(manifest)
    if candidates == (IDS_TOKENIZER,):
        return IDS_TOKENIZER, None
    for candidate in candidates:
        data = _read(objects, Uri.parse(candidate))
        if data is not None:
            return candidate, data
    raise WeightsError(
        f"no tokenizer at {' or '.join(candidates)}; upload tokenizer.model there, or name it in"
        " weights.tokenizer"
    )


def _read(objects: Objects, uri: Uri) -> bytes | None:
    found = objects.stat(uri)
    if found is None:
        return None
    if found.size_bytes > MAX_DOCUMENT_BYTES:
        raise WeightsError(
            f"{uri} has {found.size_bytes} bytes, too many for what it is named to be; correct it"
        )
    return objects.read(uri, generation=found.generation).data
