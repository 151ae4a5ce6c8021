"""Flags and environment of SAX's images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saxflow.cell.containers import admin_options, main, read_servable, server_options
from saxflow.cell.hosts import Worker
from saxflow.errors import ConfigurationError, InputError
from saxflow.sax.servable import Servable


@pytest.fixture
def mounted(tmp_path: Path, servable: Servable) -> dict[str, str]:
    (tmp_path / "servable.json").write_text(servable.to_json())
    mounts = json.dumps({"/etc/saxflow": str(tmp_path)})
    return {
        "SAX_ROOT": "gs://cells/x/sax-root",
        "SAXFLOW_CONTAINER_MOUNTS": mounts,
        "SAXFLOW_VM_ADDRESS": "127.0.0.12",
    }


def test_the_admin_reads_its_environment() -> None:
    options = admin_options(
        {"GSBUCKET": "cells/x", "SAX_CELL": "/sax/a", "SAXFLOW_VM_ADDRESS": "127.0.0.10"}
    )
    assert options.sax_root == "gs://cells/x/sax-root"
    assert options.fs_root == "gs://cells/x/sax-fs-root"
    assert (options.host, options.port) == ("127.0.0.10", 10000)
    assert admin_options({"SAX_ROOT": "/r", "SAX_FS_ROOT": "/f", "PORT": "5"}).port == 5


@pytest.mark.parametrize("environ", [{}, {"SAX_ROOT": "/r"}, {"GSBUCKET": "b", "PORT": "x"}])
def test_a_missing_bucket_or_bad_port_is_the_operators_fault(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        admin_options(environ)


def test_the_model_server_reads_sax_flags(mounted: dict[str, str], servable: Servable) -> None:
    flags = ["--sax_cell=/sax/test", "--port=10001", "--platform_chip=tpuv5e"]
    options = server_options([*flags, "--platform_topology=16", "--host_ordinal=2"], mounted)
    assert options.servable == servable
    assert (options.host, options.port, options.worker) == ("127.0.0.12", 10001, Worker(2, 4))
    alone = server_options([*flags, "--platform_topology=4", "--host_ordinal=0"], mounted)
    assert alone.worker == Worker(0, 1)


def test_a_model_server_needs_root_and_servable(mounted: dict[str, str], tmp_path: Path) -> None:
    flags = ["--sax_cell=/sax/test", "--port=1"]
    with pytest.raises(ConfigurationError, match="SAX_ROOT"):
        server_options(flags, {})
    (tmp_path / "servable.json").unlink()
    with pytest.raises(ConfigurationError, match=r"servable\.json cannot be read"):
        server_options(flags, mounted)


def test_a_broken_servable_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(InputError):
        read_servable(tmp_path / "s.json")


def test_main_answers_with_the_documented_codes(mounted: dict[str, str]) -> None:
    assert main(["nothing"], {}) == 3
    assert main(["admin"], {}) == 1
    chips = ["--platform_chip=abacus", "--platform_topology=4"]
    assert main(["model-server", "--sax_cell=/sax/test", "--port=0", *chips], mounted) == 3
