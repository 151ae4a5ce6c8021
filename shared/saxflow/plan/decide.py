"""Every decision that a manifest leaves open, and every reason to refuse, in one place.

Pure: manifest, settings and facts in, a `Decision` out, or all refusals at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from saxflow import catalog, names
from saxflow.catalog import Size, Slice
from saxflow.errors import ManifestError, Problem
from saxflow.manifest import IDS_TOKENIZER, Manifest
from saxflow.plan import hbm
from saxflow.plan.facts import WeightFacts
from saxflow.plan.hbm import Budget, Load
from saxflow.settings import Settings
from saxflow.weights import Dimensions

PARAMS_MODULE = "saxml.server.pax.lm.params.saxflow"
SERVED_CLASS = f"{PARAMS_MODULE}.Llama"
ROPE_THETA = 10000.0
"""The only base of rotary frequencies that the server's Llama knows."""

_NOT_BUILT = {
    "inPlace": "inPlace is not built yet; use blueGreen (no gap, two TPUs for a while)",
    "recreate": "recreate is not built yet; use blueGreen, or `saxflow delete` the deployment, wait"
    " for deployment.deleted and upload the manifest again",
}
"""Ways of replacement that the format has and the Workflow has not."""

_DEFAULT_PROMPT = "Q: What is the capital of France? A:"
_DEFAULT_IDS_PROMPT = "3"


@dataclass(frozen=True)
class Decision:
    """What a deployment will be.

    Args:
        size: of the catalog, None when the dimensions are none of its.
        slice: the TPU slice.
        zones: in the order in which they are tried.
        destination: gs:// directory above all fingerprints, without a slash at the end.
        model: SAX model name, last part of the model ID.
        model_path: registry path of the class that serves.
        stream: whether streaming is offered.
        load: what is asked of the model server.
        prompt, contains: the golden prompt.
        hourly_usd: list price of the slice in the dearest of the zones.
        budget: memory by chip.
        notes: what a person should know but nobody refuses.
    """

    size: Size | None
    slice: Slice
    zones: tuple[str, ...]
    destination: str
    model: str
    model_path: str
    stream: bool
    load: Load
    prompt: str
    contains: str | None
    hourly_usd: float
    budget: Budget
    notes: tuple[str, ...]


def check_manifest(manifest: Manifest, settings: Settings) -> None:
    """Refuse what needs no look at the weights; call it before listing them.

    Raises:
        ManifestError: with every refusal.
    """
    problems = list(_early(manifest, settings))
    if problems:
        raise ManifestError(manifest.source_name, problems)


def decide(manifest: Manifest, settings: Settings, facts: WeightFacts) -> Decision:
    """Return what the deployment will be.

    Raises:
        ManifestError: with every refusal.
    """
    dims = facts.dimensions
    serve = manifest.serve
    size = catalog.size_of(dims)
    load = Load(serve.batch_size, serve.max_input_tokens, serve.max_new_tokens)
    chosen = _slice(manifest, size, dims, load)
    budget = hbm.budget(dims, chosen, load)
    zones = _zones(manifest, settings)
    spot = manifest.tpu.provisioning == "spot"
    hourly = hourly_usd(chosen, zones, settings, spot=spot)
    problems = [
        *_early(manifest, settings),
        *_of_digests(manifest, facts),
        *_of_weights(manifest, size, dims),
        *_of_memory(manifest, budget, dims, load),
        *_of_cost(manifest, chosen, hourly),
        *_of_stock_class(manifest, chosen, size, load),
    ]
    if problems:
        raise ManifestError(manifest.source_name, problems)
    prompt, contains = _smoke(manifest, facts)
    return Decision(
        size=size,
        slice=chosen,
        zones=zones,
        destination=_destination(manifest, settings, size),
        model=serve.model or (size.model if size else names.default_model(manifest.name)),
        model_path=serve.model_path or SERVED_CLASS,
        stream=_stream(manifest, chosen, facts),
        load=load,
        prompt=prompt,
        contains=contains,
        hourly_usd=hourly,
        budget=budget,
        notes=tuple(_notes(manifest, chosen, dims, zones, hourly)),
    )


def hourly_usd(chosen: Slice, zones: tuple[str, ...], settings: Settings, *, spot: bool) -> float:
    """Return what a slice costs an hour in the dearest of the zones."""
    prices = [
        catalog.chip_hour_usd(zone, base_usd=settings.chip_hour_usd, spot=spot) for zone in zones
    ] or [settings.chip_hour_usd]
    return round(chosen.chips * max(prices), 4)


def _slice(manifest: Manifest, size: Size | None, dims: Dimensions, load: Load) -> Slice:
    if manifest.tpu.accelerator_type:
        return catalog.SLICES[manifest.tpu.accelerator_type]
    if size:
        return catalog.SLICES[size.accelerator]
    largest = list(catalog.SLICES.values())[-1]
    return hbm.smallest_slice(dims, load) or largest


def _zones(manifest: Manifest, settings: Settings) -> tuple[str, ...]:
    return tuple(manifest.tpu.zones or _zones_near(settings.models_location))


def _zones_near(location: str) -> tuple[str, ...]:
    return tuple(zone for zone in catalog.V5E_ZONES if _in_location(zone, location))


def _in_location(zone: str, location: str) -> bool:
    """Return whether a zone lies in a bucket's location: a region, `us` or `eu`."""
    place = location.lower()
    multi = {"us": "us-", "eu": "europe-"}.get(place)
    return zone.startswith(multi) if multi else catalog.region_of(zone) == place


def _destination(manifest: Manifest, settings: Settings, size: Size | None) -> str:
    if manifest.checkpoint.destination:
        return manifest.checkpoint.destination.rstrip("/")
    directory = size.directory if size else names.default_directory(manifest.name)
    return f"gs://{settings.models_bucket}/sax_models/llama2/{directory}"


def _smoke(manifest: Manifest, facts: WeightFacts) -> tuple[str, str | None]:
    test = manifest.serve.smoke_test
    if test:
        return test.prompt, test.contains
    ids = facts.tokenizer_uri == IDS_TOKENIZER
    return (_DEFAULT_IDS_PROMPT if ids else _DEFAULT_PROMPT), None


def _stream(manifest: Manifest, chosen: Slice, facts: WeightFacts) -> bool:
    if manifest.serve.stream is not None:
        return manifest.serve.stream
    return chosen.hosts == 1 and facts.tokenizer_uri != IDS_TOKENIZER


def _early(manifest: Manifest, settings: Settings) -> Iterator[Problem]:
    source = manifest.weights.source
    if source.startswith("hf://"):
        yield manifest.problem(
            "weights.source",
            f"{source!r} cannot be fetched yet; download it, copy it with"
            " `gcloud storage cp -r DIRECTORY gs://BUCKET/DIRECTORY` and name the gs:// URI",
        )
    reason = _NOT_BUILT.get(manifest.lifecycle.replace)
    if reason:
        yield manifest.problem("lifecycle.replace", reason)
    if manifest.serve.stream and manifest.weights.tokenizer == IDS_TOKENIZER:
        yield manifest.problem(
            "serve.stream", "SAX cannot stream ids; write stream: false, or name a tokenizer"
        )
    yield from _of_zones(manifest, settings)


def _of_zones(manifest: Manifest, settings: Settings) -> Iterator[Problem]:
    location = settings.models_location
    if manifest.tpu.zones is None:
        if not _zones_near(location):
            yield manifest.problem(
                "tpu.zones",
                f"no zone of {location}, where the models bucket is, is known to have v5e; name"
                f" zones and write allowCrossRegion: true ({', '.join(catalog.V5E_ZONES)})",
            )
        return
    if manifest.tpu.allow_cross_region:
        return
    for index, zone in enumerate(manifest.tpu.zones):
        if not _in_location(zone, location):
            yield manifest.problem(
                f"tpu.zones[{index}]",
                f"{zone!r} is not in {location}, where the models bucket is, so every load would be"
                " charged; name a zone there, or write allowCrossRegion: true",
            )


def _of_digests(manifest: Manifest, facts: WeightFacts) -> Iterator[Problem]:
    there = [file.name for file in facts.files]
    for name in manifest.weights.sha256:
        if name not in there:
            yield manifest.problem(
                f"weights.sha256.{name}",
                f"no such file among the weights ({', '.join(there[:4])}, ...); correct the name",
            )


def _of_weights(manifest: Manifest, size: Size | None, dims: Dimensions) -> Iterator[Problem]:
    wanted = manifest.model.size
    if wanted and (size is None or size.name != wanted):
        found = f"those of {size.name}" if size else "none of the catalog's"
        yield manifest.problem(
            "model.size",
            f"{wanted!r}, but the weights' dimensions are {found}: {dims.layers} layers, dim"
            f" {dims.model_dim}, {dims.heads}/{dims.kv_heads} heads, hidden {dims.hidden_dim};"
            " correct it or leave it out",
        )
    if dims.rope_theta != ROPE_THETA:
        yield manifest.problem(
            "weights.source",
            f"rope_theta is {dims.rope_theta:g}; SAX's Llama knows only {ROPE_THETA:g}, so these"
            " weights (Code Llama, Llama 3) would answer nonsense",
        )
    if dims.kv_heads == 1 and dims.heads > 1:
        yield manifest.problem(
            "weights.source",
            f"one KV head for {dims.heads} heads; SAX's grouped-query attention needs two or more",
        )
    if dims.heads * dims.head_dim != dims.model_dim:
        yield manifest.problem(
            "weights.source",
            f"{dims.heads} heads of {dims.head_dim} are not the model's width {dims.model_dim};"
            " SAX's Llama has no other shape",
        )
    if dims.head_dim % 2:
        yield manifest.problem(
            "weights.source", f"head_dim {dims.head_dim} is odd; rotary embeddings need pairs"
        )


def _of_memory(
    manifest: Manifest, budget: Budget, dims: Dimensions, load: Load
) -> Iterator[Problem]:
    reason = hbm.refusal(budget, dims, load)
    if reason:
        yield manifest.problem("tpu.acceleratorType", reason)


def _of_cost(manifest: Manifest, chosen: Slice, hourly: float) -> Iterator[Problem]:
    limit = manifest.lifecycle.max_hourly_cost
    if limit is not None and hourly > limit:
        yield manifest.problem(
            "lifecycle.maxHourlyCost",
            f"{chosen.accelerator_type} {manifest.tpu.provisioning} costs {hourly:.2f} USD an hour,"
            f" more than {limit:g}; raise the limit, or use a smaller slice or spot",
        )


def _of_stock_class(
    manifest: Manifest, chosen: Slice, size: Size | None, load: Load
) -> Iterator[Problem]:
    path = manifest.serve.model_path
    stock = catalog.STOCK_CLASSES.get(path or "")
    if path is None or stock is None:
        return
    if not stock.reads_checkpoints:
        yield manifest.problem(
            "serve.modelPath",
            f"{path} is a test_mode class: it serves random weights whatever it loads; leave"
            " modelPath out",
        )
    if stock.chips != chosen.chips:
        yield manifest.problem(
            "serve.modelPath",
            f"{path} is made for {stock.chips} chips and never loads on {chosen.chips}; use a"
            " slice of that size, or leave modelPath out",
        )
    if size is None or size.name != stock.size:
        yield manifest.problem(
            "serve.modelPath",
            f"{path} has the dimensions of {stock.size}, the weights are"
            f" {size.name if size else 'of another size'}; leave modelPath out",
        )
    if load.input_len > stock.input_len or load.max_new_tokens > stock.max_new_tokens:
        yield manifest.problem(
            "serve.modelPath",
            f"{path} takes {stock.input_len} tokens and gives {stock.max_new_tokens}; write"
            f" maxInputTokens: {stock.input_len} and maxNewTokens: {stock.max_new_tokens}",
        )


def _notes(
    manifest: Manifest, chosen: Slice, dims: Dimensions, zones: tuple[str, ...], hourly: float
) -> Iterator[str]:
    for what, count in (
        ("query heads", dims.heads),
        ("KV heads", dims.kv_heads),
        ("hidden", dims.hidden_dim),
        ("vocabulary", dims.vocab),
    ):
        if count % chosen.chips:
            yield f"{what}: {count} is padded to a multiple of {chosen.chips} chips"
    unknown = [zone for zone in zones if zone not in catalog.V5E_ZONES]
    if unknown:
        yield f"{', '.join(unknown)} is not known to have v5e"
    if manifest.serve.stream and chosen.hosts != 1:
        yield "streaming on several hosts is not supported by every SAX image"
    if manifest.tpu.provisioning == "reserved" and manifest.lifecycle.replace == "blueGreen":
        yield "blueGreen needs room for two slices in the reservation"
    if manifest.lifecycle.replace == "blueGreen":
        yield f"blueGreen costs {2 * hourly:.2f} USD an hour while old and new run side by side"
    if manifest.lifecycle.ttl_seconds is None:
        yield f"ttl never: {hourly * 730:.0f} USD a month until the manifest is deleted"
