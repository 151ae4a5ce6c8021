"""The catalog says what Meta's params.json and SAX's classes say."""

from dataclasses import replace

import pytest

from saxflow import catalog
from saxflow.weights import dimensions_of_params

PARAMS = {
    "7b": {"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32},
    "13b": {"dim": 5120, "multiple_of": 256, "n_heads": 40, "n_layers": 40},
    "34b": {"dim": 8192, "multiple_of": 256, "ffn_dim_multiplier": 1.0, "n_heads": 64, "n_kv_heads": 8, "n_layers": 48},
    "70b": {"dim": 8192, "multiple_of": 4096, "ffn_dim_multiplier": 1.3, "n_heads": 64, "n_kv_heads": 8, "n_layers": 80},
}  # fmt: skip
BILLIONS = {"7b": 6.74, "13b": 13.02, "34b": 33.74, "70b": 68.98}


@pytest.mark.parametrize("name", catalog.SIZES)
def test_dimensions_are_those_of_params_json(name: str) -> None:
    size = catalog.SIZES[name]
    assert dimensions_of_params({**PARAMS[name], "vocab_size": 32000}) == size.dimensions
    assert size.dimensions.parameters / 1e9 == pytest.approx(BILLIONS[name], abs=0.01)
    assert size.accelerator in catalog.SLICES


def test_sizes_are_known_by_shape() -> None:
    dims = catalog.SIZES["7b"].dimensions
    found = catalog.size_of(replace(dims, vocab=32016, norm_eps=1e-6))
    assert found is catalog.SIZES["7b"]
    assert catalog.size_of(replace(dims, layers=31)) is None


def test_default_chips() -> None:
    dims = catalog.SIZES["70b"].dimensions
    assert catalog.default_chips(dims) == 16
    assert catalog.default_chips(replace(dims, layers=1)) == 1


def test_slices_grow() -> None:
    chips = [entry.chips for entry in catalog.SLICES.values()]
    assert chips == sorted(chips) == [1, 4, 8, 16, 32]
    assert catalog.SLICES["v5litepod-32"].topology == "4x8"


def test_stock_classes_name_sizes() -> None:
    for stock in catalog.STOCK_CLASSES.values():
        assert stock.size in catalog.SIZES
    readers = [path for path, stock in catalog.STOCK_CLASSES.items() if stock.reads_checkpoints]
    assert [path.rpartition(".")[2] for path in readers] == ["LLaMA7BFP16", "LLaMA7BFP16TPUv5e"]


@pytest.mark.parametrize(
    ("zone", "spot", "usd"),
    [
        ("us-central1-a", False, 1.2),
        ("us-central1-a", True, 0.6),
        ("us-south1-a", False, 1.416),
        ("europe-west4-b", False, 1.56),
        ("nowhere1-a", False, 1.2),
    ],
)
def test_prices(zone: str, spot: bool, usd: float) -> None:
    assert catalog.chip_hour_usd(zone, spot=spot) == pytest.approx(usd)


def test_prices_follow_the_operators() -> None:
    assert catalog.chip_hour_usd("us-west4-a", base_usd=1.0) == 1.0


def test_regions() -> None:
    assert catalog.region_of("northamerica-northeast2-b") == "northamerica-northeast2"
