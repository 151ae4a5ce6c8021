"""What the tutorial and Google's documentation fix: sizes, slices, zones, prices, stock classes.

Source: meta-llama/llama and codellama params.json; SAX README (Llama 2 section);
google/saxml saxml/server/pax/lm/params/lm_cloud.py and proto_util.py v1.1.0; Cloud TPU documentation
on v5e; cloud.google.com/tpu/pricing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from saxflow.weights import Dimensions

SAX_CHIP = "tpuv5e"
SAX_CHIP_ENUM = "TPU_V5E"
HBM_BYTES_PER_CHIP = 16_000_000_000
BASE_CHIP_HOUR_USD = 1.2
"""List price of one v5e chip for an hour in us-central1; other regions are relative to it."""

SPOT_FACTOR = 0.5


@dataclass(frozen=True)
class Size:
    """One size of Llama.

    Args:
        name: as in `model.size`.
        dimensions: what decides it; `vocab` is the usual one and may differ in weights.
        accelerator: default slice.
        directory: default checkpoint directory, as in the tutorial.
        model: default SAX model name.
    """

    name: str
    dimensions: Dimensions
    accelerator: str
    directory: str
    model: str

    def matches(self, dimensions: Dimensions) -> bool:
        """Return whether weights are of this size; vocabulary, epsilon and theta are free."""
        return _shape(self.dimensions) == _shape(dimensions)


@dataclass(frozen=True)
class Slice:
    """One v5e slice.

    Args:
        accelerator_type: as in the TPU API.
        chips: also the length of the serving mesh's `mdl` axis.
        hosts: VMs; None when only the Node's networkEndpoints tell for sure.
        topology: as SAX's --platform_topology wants it.
    """

    accelerator_type: str
    chips: int
    hosts: int | None
    topology: str


@dataclass(frozen=True)
class StockClass:
    """A Llama class of the stock SAX image v1.1.0.

    Args:
        chips: its mesh; it is advertised on no other slice.
        reads_checkpoints: False is SAX's test_mode: random weights, whatever the path.
        size: whose dimensions it has.
        input_len, max_new_tokens: fixed lengths.
    """

    chips: int
    reads_checkpoints: bool
    size: str
    input_len: int
    max_new_tokens: int


def _llama(
    layers: int, dim: int, heads: int, kv_heads: int, hidden: int, vocab: int = 32000
) -> Dimensions:
    return Dimensions(layers, dim, heads, kv_heads, dim // heads, hidden, vocab)


SIZES: Mapping[str, Size] = {
    size.name: size
    for size in (
        Size("7b", _llama(32, 4096, 32, 32, 11008), "v5litepod-4", "saxml_llama27b", "llama27b"),
        Size("13b", _llama(40, 5120, 40, 40, 13824), "v5litepod-8", "saxml_llama213b", "llama213b"),
        Size("34b", _llama(48, 8192, 64, 8, 22016), "v5litepod-8", "saxml_llama234b", "llama234b"),
        Size("70b", _llama(80, 8192, 64, 8, 28672), "v5litepod-16", "saxml_llama270b", "llama270b"),
    )
}
"""Llama 2 (34b: Code Llama) by `model.size`."""

SLICES: Mapping[str, Slice] = {
    entry.accelerator_type: entry
    for entry in (
        Slice("v5litepod-1", 1, 1, "1"),
        Slice("v5litepod-4", 4, 1, "4"),
        Slice("v5litepod-8", 8, 1, "8"),
        Slice("v5litepod-16", 16, None, "16"),
        Slice("v5litepod-32", 32, None, "4x8"),
    )
}
"""v5e slices that SAX knows, smallest first."""

V5E_ZONES: tuple[str, ...] = (
    "us-central1-a",
    "us-east5-c",
    "us-south1-a",
    "us-west1-c",
    "us-west4-a",
    "us-west4-b",
    "europe-west4-a",
    "europe-west4-b",
)
"""Zones known to have v5e."""

_REGIONAL_FACTORS: Mapping[str, float] = {"us-south1": 1.416 / 1.2, "europe-west4": 1.56 / 1.2}

_LM_CLOUD = "saxml.server.pax.lm.params.lm_cloud."
STOCK_CLASSES: Mapping[str, StockClass] = {
    f"{_LM_CLOUD}{name}": entry
    for name, entry in {
        "LLaMA7BFP16": StockClass(1, True, "7b", 128, 32),
        "LLaMA7BFP16TPUv4": StockClass(4, False, "7b", 128, 32),
        "LLaMA7BFP16TPUv5e": StockClass(4, True, "7b", 128, 32),
        "LLaMA7B": StockClass(1, False, "7b", 4096, 1024),
        "LLaMA13B": StockClass(1, False, "13b", 4096, 1024),
        "LLaMA70BFP16TPUv5e": StockClass(16, False, "70b", 4096, 128),
        "LLaMA70BFP16TPUv5e32": StockClass(32, False, "70b", 4096, 128),
        "LLaMA70BFP16TPUv5e64": StockClass(64, False, "70b", 4096, 128),
    }.items()
}
"""Llama 2 classes of the stock image by registry path; all but two serve random weights."""


def size_of(dimensions: Dimensions) -> Size | None:
    """Return the size that weights of these dimensions have, None when it is none of ours."""
    return next((size for size in SIZES.values() if size.matches(dimensions)), None)


def default_chips(dimensions: Dimensions) -> int:
    """Return the chips that serve these dimensions by default, 1 for unknown ones."""
    size = size_of(dimensions)
    return SLICES[size.accelerator].chips if size else 1


def region_of(zone: str) -> str:
    """Return a zone's region: `us-central1-a` -> `us-central1`."""
    return zone.rpartition("-")[0]


def chip_hour_usd(zone: str, *, base_usd: float = BASE_CHIP_HOUR_USD, spot: bool = False) -> float:
    """Return the price of one chip for an hour in a zone.

    Args:
        base_usd: what it costs in us-central1, on demand.
        spot: preemptible capacity, about half.
    """
    factor = _REGIONAL_FACTORS.get(region_of(zone), 1.0)
    return base_usd * factor * (SPOT_FACTOR if spot else 1.0)


def _shape(dims: Dimensions) -> tuple[int, ...]:
    return (
        dims.layers,
        dims.model_dim,
        dims.heads,
        dims.kv_heads,
        dims.head_dim,
        dims.hidden_dim,
    )
