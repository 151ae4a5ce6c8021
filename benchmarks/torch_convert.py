"""The straightforward way: load every shard with torch, join, cast, write one zstd chunk each.

    python -m benchmarks.torch_convert SRC DST

This is what SAX's own converter does, without its framework; it is here to be measured.

Source: google/saxml saxml/tools/convert_llama_ckpt.py v1.1.0.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import tensorstore as ts
import torch
from numpy.typing import NDArray

from saxflow.checkpoint.mapping import recipe
from saxflow.checkpoint.matrices import role_of
from saxflow.checkpoint.meta import CUTS
from saxflow.layout import pax_variables
from saxflow.weights import dimensions_of_params


def main(source: Path, target: Path) -> None:
    """Convert a whole model in memory."""
    shards = [torch.load(path, weights_only=True) for path in sorted(source.glob("*.pth"))]
    whole = {name: _joined(name, shards) for name in shards[0]}
    params = json.loads((source / "params.json").read_text())
    dims = dimensions_of_params(params, vocab=len(whole["tok_embeddings.weight"]))
    made = {}
    for variable in pax_variables(dims):
        how = recipe(variable.name)
        parts = [whole[name].T if how.transposed else whole[name] for name in how.tensors]
        value = torch.stack(parts) if len(parts) > 1 else parts[0]
        made[variable.name] = value.reshape(variable.shape).to(torch.float16).numpy()
    for name, value in made.items():
        _write(target / name, value)


def _joined(name: str, shards: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    axis = 1 if name == "tok_embeddings.weight" else CUTS[role_of(name)]
    return shards[0][name] if axis is None else torch.cat([s[name] for s in shards], dim=axis)


def _write(folder: Path, value: NDArray[np.float16]) -> None:
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": str(folder)},
        "metadata": {
            "shape": list(value.shape),
            "chunks": list(value.shape),
            "dtype": "<f2",
            "compressor": {"id": "zstd", "level": 1},
        },
    }
    ts.open(spec, create=True).result().write(value).result()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
