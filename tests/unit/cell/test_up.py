"""What `saxflow cell up` starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from saxflow.cell.up import UpOptions
from saxflow.errors import InputError, NotFoundError
from saxflow.sax.servable import Servable


@pytest.fixture
def options(tmp_path: Path, servable: Servable) -> dict[str, Any]:
    file = tmp_path / "servable.json"
    file.write_text(servable.to_json())
    (tmp_path / "checkpoint_00000000").mkdir()
    return {
        "cell": "/sax/test",
        "checkpoint": f"{tmp_path}/checkpoint_00000000",
        "servable": str(file),
        "sax_root": f"{tmp_path}/sax-root/",
        "fs_root": None,
        "host": "127.0.0.1",
        "port": 0,
        "model": None,
        "admin_only": False,
        "server_only": False,
        "jax_cache_dir": None,
    }


def test_roots_and_names_are_completed(options: dict[str, Any], tmp_path: Path) -> None:
    parsed = UpOptions.parse(**{**options, "model": "m"})
    assert parsed.fs_root == f"{tmp_path}/sax-root-fs"
    assert str(parsed.model) == "/sax/test/m"
    remote = UpOptions.parse(**{**options, "sax_root": "gs://b/root", "fs_root": "gs://b/state"})
    assert (remote.sax_root, remote.fs_root) == ("gs://b/root", "gs://b/state")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["admin", "model-server"]),
        ({"admin_only": True}, ["admin"]),
        ({"server_only": True}, ["model-server"]),
    ],
)
def test_members(options: dict[str, Any], changes: dict[str, Any], names: list[str]) -> None:
    members = UpOptions.parse(**{**options, **changes}).members("/compiled")
    assert [member.name for member in members] == names


def test_ports_follow_each_other(options: dict[str, Any]) -> None:
    admin, server = UpOptions.parse(**{**options, "port": 9000}).members("/compiled")
    assert admin.port == 9000
    assert "--port=9001" in server.arguments
    assert "--jax_cache_dir=/compiled" in server.arguments
    alone = {**options, "port": 9000, "server_only": True, "jax_cache_dir": "/kept"}
    (only,) = UpOptions.parse(**alone).members("/compiled")
    assert "--port=9000" in only.arguments
    assert "--jax_cache_dir=/kept" in only.arguments
    free = UpOptions.parse(**options).members("/compiled")[1]
    assert "--port=0" not in free.arguments


def test_bad_names_and_files_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        UpOptions.parse(**{**options, "model": "Bad Name"})
    with pytest.raises(NotFoundError, match=r"/nowhere\.json does not exist"):
        UpOptions.parse(**{**options, "servable": "/nowhere.json"})
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(InputError, match="broken"):
        UpOptions.parse(**{**options, "servable": str(broken)})


def test_a_checkpoint_that_could_never_load_is_refused(
    options: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no step directory"):
        UpOptions.parse(**{**options, "checkpoint": str(tmp_path)})
    for nowhere in (f"{tmp_path}/checkpoint_00000001", f"file://{tmp_path}/checkpoint_00000001"):
        with pytest.raises(NotFoundError, match="checkpoint_00000001 does not exist"):
            UpOptions.parse(**{**options, "checkpoint": nowhere})
    remote = UpOptions.parse(**{**options, "checkpoint": "gs://b/checkpoint_00000001"})
    assert remote.checkpoint == "gs://b/checkpoint_00000001"
