"""What a plan must know of the weights, from a listing and two small files.

No tensor data is read: shards that are missing, empty or too small for the dimensions that
`params.json` promises are told apart by names and sizes alone.

Source: design.md sections 4 and 6; meta-llama/llama (consolidated.NN.pth, params.json).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, cast

from saxflow import layout
from saxflow.errors import WeightsError
from saxflow.manifest import IDS_TOKENIZER, Manifest
from saxflow.plan.sentencepiece import count_pieces
from saxflow.weights import (
    META_SHARD,
    Dimensions,
    SourceFile,
    dimensions_of_config,
    dimensions_of_params,
    shards_by_number,
)

PARAMS = "params.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.model"
_PART = re.compile(r"(.+)-(\d+)-of-(\d+)\.safetensors")
_STORED_ITEMSIZE = 2
MAX_SHARDS = 16
"""More tensor-parallel shards than any Llama was published in."""

SHOWN_FILES = 5


@dataclass(frozen=True)
class WeightFacts:
    """What is known of a source of weights.

    Args:
        files: the files that decide the checkpoint's bytes, in name order.
        params: the parsed params.json (or config.json).
        dimensions: what the shapes will be.
        tokenizer_uri: gs:// or file:// URI of a sentencepiece model, or `ids:`.
    """

    files: tuple[SourceFile, ...]
    params: Mapping[str, Any]
    dimensions: Dimensions
    tokenizer_uri: str

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor files that are read."""
        return sum(file.size_bytes for file in _read_files(self.files))


def tokenizer_candidates(manifest: Manifest) -> tuple[str, ...]:
    """Return where the tokenizer may be, in order: as written, else beside the weights or above."""
    if manifest.weights.tokenizer is not None:
        return (manifest.weights.tokenizer,)
    source = manifest.weights.source.rstrip("/")
    parent = source.rpartition("/")[0]
    beside = (f"{source}/{TOKENIZER}",)
    return (*beside, f"{parent}/{TOKENIZER}") if "://" in parent[:-1] else beside


def document_name(listing: Sequence[SourceFile]) -> str:
    """Return the file that tells the dimensions: Meta's beside shards, else Hugging Face's."""
    names = {file.name for file in listing}
    shards = any(META_SHARD.fullmatch(name) for name in names)
    safetensors = any(name.endswith(".safetensors") for name in names)
    return CONFIG if safetensors and not shards else PARAMS


def weight_facts(
    listing: Sequence[SourceFile],
    document: bytes | None,
    tokenizer_uri: str,
    *,
    source: str,
    tokenizer: bytes | None = None,
    vocab: int | None = None,
) -> WeightFacts:
    """Check a listing and return what the plan needs.

    Args:
        listing: every file directly below the source; others are ignored.
        document: bytes of the file that `document_name` names, None when there is none.
        tokenizer_uri: where the tokenizer was found, or `ids:`.
        source: URI of the source, for messages.
        tokenizer: bytes of tokenizer.model, None with `ids:`.
        vocab: rows of tok_embeddings.weight when known; else params.json or the tokenizer decides.

    Raises:
        WeightsError: files are missing, empty or too small, the document is unusable, or the
            vocabulary cannot be known; the message names file and remedy.
    """
    check_listing(listing, source)
    files = tuple(sorted(file for file in listing if layout.is_source_file(file.name)))
    tensors = _tensors(listing)
    name = document_name(tensors)
    if document is None:
        raise WeightsError(f"{source}/{name} does not exist; it tells the dimensions, upload it")
    params = _parse(document, f"{source}/{name}")
    dimensions = _dimensions(name, params, tokenizer, vocab)
    _check_pieces(dimensions, tokenizer, tokenizer_uri)
    tied = params.get("tie_word_embeddings") is True
    _check_sizes(tensors, dimensions, source, name, tied=tied)
    return WeightFacts(files, params, dimensions, tokenizer_uri)


def check_listing(listing: Sequence[SourceFile], source: str) -> None:
    """Refuse a source by the names and sizes of its files alone.

    Raises:
        WeightsError: there are no weights, files are empty, or the sequence of shards has gaps.
    """
    tensors = _tensors(listing)
    _check_presence(tensors, listing, source)
    _check_sequence(tensors, source)


def _tensors(listing: Sequence[SourceFile]) -> list[SourceFile]:
    return sorted(f for f in listing if _is_tensors(f.name) and layout.is_source_file(f.name))


def _read_files(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Return the tensor files that are read: Meta's shards where there are any."""
    shards = [file for file in files if META_SHARD.fullmatch(file.name)]
    return shards or [file for file in files if file.name.endswith(".safetensors")]


def _is_tensors(name: str) -> bool:
    return name.endswith((".pth", ".safetensors"))


def _check_presence(
    tensors: Sequence[SourceFile], listing: Sequence[SourceFile], source: str
) -> None:
    if not tensors:
        names = sorted(file.name for file in listing)
        found = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "nothing"
        raise WeightsError(
            f"{source} holds no consolidated.NN.pth and no *.safetensors (found: {found});"
            " name the directory of one model"
        )
    empty = [file.name for file in tensors if file.size_bytes == 0]
    if empty:
        raise WeightsError(f"{source}: {', '.join(empty)} has 0 bytes; upload it again")


def _check_sequence(tensors: Sequence[SourceFile], source: str) -> None:
    found = shards_by_number((file.name for file in tensors), f"{source}: ")
    numbers = range(max(found, default=-1))
    gaps = (_shard(number) for number in numbers if number not in found)
    missing = list(islice(chain(gaps, _missing_parts(tensors)), SHOWN_FILES + 1))
    if missing:
        count = len(tensors)
        more = ", ..." if len(missing) > SHOWN_FILES else ""
        raise WeightsError(
            f"{source}: {', '.join(missing[:SHOWN_FILES])}{more} is missing beside {count} other"
            f" tensor file{'s' if count != 1 else ''}; upload all of them"
        )


def _missing_parts(tensors: Sequence[SourceFile]) -> Iterator[str]:
    names = {file.name for file in tensors}
    told: set[str] = set()
    for name in sorted(names):
        match = _PART.fullmatch(name)
        if match is None:
            continue
        stem, width, total = match[1], len(match[2]), match[3]
        parts = (f"{stem}-{n:0{width}}-of-{total}.safetensors" for n in range(1, int(total) + 1))
        for part in parts:
            if part not in names and part not in told:
                told.add(part)
                yield part


def _shard(number: int) -> str:
    return f"consolidated.{number:02}.pth"


def _parse(document: bytes, name: str) -> Mapping[str, Any]:
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{name} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise WeightsError(f"{name} holds no JSON object; upload the model's own file")
    return cast("dict[str, Any]", parsed)


def _dimensions(
    name: str, params: Mapping[str, Any], tokenizer: bytes | None, vocab: int | None
) -> Dimensions:
    if name == CONFIG:
        return dimensions_of_config(params)
    return dimensions_of_params(params, vocab=_rows(params, tokenizer, vocab))


def _rows(params: Mapping[str, Any], tokenizer: bytes | None, vocab: int | None) -> int | None:
    """Return the rows of the embedding where params.json leaves them open."""
    if params.get("vocab_size", -1) != -1 or vocab is not None:
        return vocab
    if tokenizer is None:
        raise WeightsError(
            f"{PARAMS}: vocab_size is -1 and there is no tokenizer.model to count;"
            " write the rows of tok_embeddings.weight into vocab_size"
        )
    return count_pieces(tokenizer)


def _check_pieces(dimensions: Dimensions, tokenizer: bytes | None, uri: str) -> None:
    if tokenizer is None or uri == IDS_TOKENIZER:
        return
    pieces = count_pieces(tokenizer)
    if pieces > dimensions.vocab:
        raise WeightsError(
            f"{uri} has {pieces} pieces, the embedding only {dimensions.vocab} rows;"
            " name the tokenizer that belongs to these weights"
        )


def _check_sizes(
    tensors: Sequence[SourceFile],
    dimensions: Dimensions,
    source: str,
    document: str,
    *,
    tied: bool,
) -> None:
    """Every stored type has at least 16 bits, so too few bytes mean missing or cut files.

    Args:
        tied: the output matrix is the embedding and is not stored a second time.
    """
    unstored = dimensions.vocab * dimensions.model_dim if tied else 0
    needed = (dimensions.parameters - unstored) * _STORED_ITEMSIZE
    files = _read_files(tensors)
    total = sum(file.size_bytes for file in files)
    if total >= needed:
        return
    absent = ", ".join(_absent_shards(files, needed, total))
    guess = f"{absent} seems to be missing" if absent else "a file is missing or cut"
    raise WeightsError(
        f"{source}: {len(files)} tensor file(s) hold {total} bytes, the dimensions of {document} need"
        f" {needed}; {guess}, upload it"
    )


def _absent_shards(files: Sequence[SourceFile], needed: int, total: int) -> list[str]:
    """Guess which shards follow the last one: all shards of a model have about the same size."""
    expected = round(needed * len(files) / total)
    if expected > MAX_SHARDS or not META_SHARD.fullmatch(files[0].name):
        return []
    return [_shard(number) for number in range(len(files), expected)]
