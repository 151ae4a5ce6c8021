import ml_dtypes
import numpy as np
import pytest
import tensorstore as ts

from saxflow.checkpoint.encode import encode
from saxflow.layout import ZARR_DTYPE, compressor_settings


@pytest.mark.parametrize("compressor", ["none", "zstd", "blosc"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("fill", [0.0, 1.5])
def test_chunks_are_read_back_by_tensorstore(tmp_path, compressor, dtype, fill):
    array = np.full((4, 6), fill, np.float16 if dtype == "float16" else ml_dtypes.bfloat16)
    (tmp_path / "0.0").write_bytes(encode(array, dtype, compressor))
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(tmp_path)},
        "metadata": {
            "shape": [4, 6],
            "chunks": [4, 6],
            "dtype": ZARR_DTYPE[dtype],
            "compressor": compressor_settings(compressor),
        },
    }
    chunk = (tmp_path / "0.0").read_bytes()
    opened = ts.open(spec, create=True, delete_existing=False).result()
    (tmp_path / "0.0").write_bytes(chunk)
    assert (opened.read().result() == array).all()


def test_without_compression_nothing_is_copied():
    array = np.zeros((2, 2), np.float16)
    view = encode(array, "float16", "none")
    array[0, 0] = 1.0
    assert bytes(view) == array.tobytes()
