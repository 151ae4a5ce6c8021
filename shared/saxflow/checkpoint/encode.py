"""Encode a chunk as zarr v2 stores it: raw, or compressed by tensorstore's own codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saxflow.layout import ZARR_DTYPE, compressor_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode(array: NDArray[Any], dtype: str, compressor: str) -> memoryview:
    """Return a chunk's bytes; without compression a view of the array, not a copy.

    Args:
        array: C-contiguous, in `dtype`.
        compressor: a name of `layout.COMPRESSORS`.
    """
    import numpy as np

    settings = compressor_settings(compressor)
    if settings is None:
        return array.reshape(-1).view(np.uint8).data
    return memoryview(_compressed(array, dtype, settings))


def _compressed(array: NDArray[Any], dtype: str, settings: dict[str, Any]) -> bytes:
    """Write the array as the only chunk of an in-memory zarr and take the chunk.

    The library that SAX restores with has the codecs; no second implementation is needed.
    """
    import tensorstore as ts

    context = ts.Context()
    store = {"driver": "memory"}
    spec = {
        "driver": "zarr",
        "kvstore": store,
        "store_data_equal_to_fill_value": True,
        "metadata": {
            "shape": list(array.shape),
            "chunks": list(array.shape),
            "dtype": ZARR_DTYPE[dtype],
            "compressor": settings,
            "fill_value": None,
            "order": "C",
        },
    }
    ts.open(spec, create=True, context=context).result().write(array).result()
    key = ".".join("0" * array.ndim)
    return ts.KvStore.open(store, context=context).result().read(key).result().value
