"""What a VM's process prepares."""

from __future__ import annotations

from saxflow.local.vm.machine import BOOT_ID, MachineConfig, prepare_root, script_environment

CONFIG = MachineConfig("127.0.1.10", "/root-of-vm", "/host", {"instance/id": "1"}, "/images", {})


def test_configuration_is_read_back_and_private(tmp_path):
    CONFIG.save(tmp_path / "deep/machine.json")
    assert MachineConfig.load(tmp_path / "deep/machine.json") == CONFIG
    assert (tmp_path / "deep/machine.json").stat().st_mode & 0o077 == 0


def test_every_boot_has_its_own_boot_id(tmp_path):
    prepare_root(tmp_path)
    first = (tmp_path / BOOT_ID).read_text()
    prepare_root(tmp_path)
    assert (tmp_path / BOOT_ID).read_text() != first


def test_scripts_get_a_bare_environment_with_shims_first():
    env = script_environment(CONFIG, "127.0.1.10:80")
    assert env["PATH"].startswith("/host/bin:")
    assert env["SAXFLOW_VM_ROOT"] == "/root-of-vm"
    assert env["GCE_METADATA_HOST"] == "127.0.1.10:80"
    assert "HOME" not in env
