"""The reference is only worth something if it says what Meta's own code said."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from saxflow.weights import dimensions_of_params


def _logits(
    meta_llama: ModuleType, folder: Path, ids: np.ndarray, dtype: torch.dtype
) -> np.ndarray:
    dims = dimensions_of_params(json.loads((folder / "params.json").read_text()), vocab=320)
    model = meta_llama.load(folder, dims, torch.float16).to(dtype)
    with torch.no_grad():
        return model(torch.from_numpy(ids)).numpy()


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-6), (torch.float32, 2e-5)])
def test_the_reference_reproduces_metas_logits(
    golden: Path, meta_llama: ModuleType, dtype: torch.dtype, atol: float
) -> None:
    recorded = np.load(golden / "tiny_mha_2shards/logits.npz")
    logits = _logits(meta_llama, golden / "tiny_mha_2shards/meta", recorded["ids"], dtype)
    np.testing.assert_allclose(logits, recorded["meta_ref"], rtol=0, atol=atol)


def test_the_real_sax_model_agrees_with_the_reference(golden: Path, meta_llama: ModuleType) -> None:
    recorded = np.load(golden / "tiny_mha_2shards/logits.npz")
    folder = golden / "tiny_mha_2shards/meta"
    logits = _logits(meta_llama, folder, recorded["ids"], torch.float64)
    np.testing.assert_allclose(logits, recorded["sax_f32"], rtol=0, atol=2e-5)
