"""What a process says of itself; whole processes are in the contract tests."""

from __future__ import annotations

import pytest

from saxflow.cell.processes import ServerOptions, chip_topology, chip_type, server_spec
from saxflow.errors import InputError
from saxflow.sax.names import CellName
from saxflow.sax.servable import Servable


@pytest.mark.parametrize(("name", "number"), [("cpu", 12), ("tpuv5e", 15), ("TPUv4", 6)])
def test_chips_as_saxs_flag_names_them(name: str, number: int) -> None:
    assert chip_type(name) == number


@pytest.mark.parametrize(
    ("name", "number"),
    [("1", 22), ("4", 23), ("8", 25), ("16", 26), ("4x8", 4), ("4x4_twisted", 3)],
)
def test_topologies_as_saxs_flag_names_them(name: str, number: int) -> None:
    assert chip_topology(name) == number


def test_unknown_hardware_is_refused() -> None:
    with pytest.raises(InputError, match="abacus"):
        chip_type("abacus")
    for topology in ("3", "unknown", ""):
        with pytest.raises(InputError):
            chip_topology(topology)


def test_every_process_has_a_spec_of_its_own(servable: Servable) -> None:
    options = ServerOptions(
        CellName("test"), "/root", "127.0.0.1", 0, servable, chip="tpuv5e", topology="4"
    )
    first, second = server_spec(options), server_spec(options)
    assert first.servable_model_paths[0] == servable.model_path
    assert (first.chip_type, first.chip_topology) == (15, 23)
    assert first != second
