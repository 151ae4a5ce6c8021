"""The params class makes praxis build the model whose variables a conversion writes."""

from __future__ import annotations

from typing import Any

import pytest

from saxflow.layout import Variable, pax_variables
from saxflow.weights import Dimensions

pytestmark = [pytest.mark.pax, pytest.mark.slow, pytest.mark.timeout(1200)]

SIZES = {
    "7b": Dimensions(2, 4096, 32, 32, 128, 11008, 32000),
    "13b": Dimensions(2, 5120, 40, 40, 128, 13824, 32000),
    "34b": Dimensions(2, 8192, 64, 8, 128, 22016, 32016),
    "70b": Dimensions(2, 8192, 64, 8, 128, 28672, 32000, norm_eps=1e-6),
}
"""Real widths; two layers, because praxis needs a minute to describe eighty that are alike."""


EMBEDDING = "params.lm.embedding_lookup.emb_var"


@pytest.mark.parametrize("size", SIZES)
def test_praxis_wants_the_names_and_shapes_that_are_written(
    pax: Any, describe: Any, size: str
) -> None:
    written = {_name(variable): variable.shape for variable in pax_variables(SIZES[size])}
    wanted = pax.variables(describe(SIZES[size], mesh=4))
    assert {name: shape for name, (shape, _) in wanted.items()} == written


@pytest.mark.parametrize("size", SIZES)
def test_a_slice_shares_variables_along_the_axis_that_is_cut(
    pax: Any, describe: Any, size: str
) -> None:
    """All but the embedding, which praxis shares along D although its mapping says [V, D]."""
    cut = {_name(variable): variable.mdl_axis for variable in pax_variables(SIZES[size])}
    shared = {
        name: axis for name, (_, axis) in pax.variables(describe(SIZES[size], mesh=4)).items()
    }
    assert shared.pop(EMBEDDING) == 1
    del cut[EMBEDDING]
    assert shared == cut


def _name(variable: Variable) -> str:
    return variable.name.removeprefix("mdl_vars.")
