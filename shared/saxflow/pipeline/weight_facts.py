"""Learn what a plan must know of the weights: one listing and two small files, no tensor data."""

from __future__ import annotations

from saxflow.errors import InputError, NotFoundError, WeightsError
from saxflow.gcp.objects import Objects, Uri
from saxflow.manifest import IDS_TOKENIZER, Manifest
from saxflow.plan import WeightFacts, tokenizer_candidates, weight_facts
from saxflow.plan.facts import document_name
from saxflow.weights import SourceFile


def gather(objects: Objects, manifest: Manifest) -> WeightFacts:
    """Return the facts about a manifest's weights in Cloud Storage.

    Raises:
        InputError: the source is not in Cloud Storage.
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
    listing = [
        SourceFile(
            item.uri.name.removeprefix(place.name), item.size_bytes, item.crc32c, item.generation
        )
        for item in objects.list(place, delimiter="/")
    ]
    tokenizer_uri, tokenizer = _tokenizer(objects, manifest)
    return weight_facts(
        listing,
        _read(objects, place.child(document_name(listing))),
        tokenizer_uri,
        source=source,
        tokenizer=tokenizer,
    )


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
    try:
        return objects.read(uri).data
    except NotFoundError:
        return None
