"""tpu/bootstrap.sh and tpu/startup.sh, run as a TPU VM runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from saxflow import bundled


def test_scripts_pass_shellcheck():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    scripts = [str(bundled.path(f"tpu/{name}.sh")) for name in ("bootstrap", "startup")]
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["bootstrap", "startup"])
def test_scripts_obey_the_rules_of_a_vm(name):
    text = bundled.text(f"tpu/{name}.sh")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert "set -Eeuo pipefail" in code
    for word in ("sudo", "localhost", "eval ", "apt-get", "publish"):
        assert word not in code
    assert len(text.encode()) < 64 * 1024


def test_single_worker_becomes_ready(ready_cell):
    state = ready_cell.state()
    assert (state["worker"], state["epoch"], state["state"]) == (0, 1, "ready")
    boot_id = ready_cell.machines[0].paths.root / "proc/sys/kernel/random/boot_id"
    assert state["boot_id"] == boot_id.read_text().strip()
    assert "sax-model-server" in state["log"]


def test_heartbeat_refreshes_the_state_object(ready_cell):
    first = ready_cell.ready()["time"]
    assert ready_cell.await_state(lambda s: s["time"] > first)["state"] == "ready"


def test_admin_gets_the_root_of_this_attempt_only(ready_cell):
    admin = ready_cell.container("sax-admin")
    assert admin["args"] == []
    assert admin["env"]["GSBUCKET"] == "cells/tiny/abc-a1"
    assert admin["env"]["PORT"] == "10000"


def test_shell_text_in_values_reaches_the_containers_as_text(ready_cell):
    values = ready_cell.hostile_values()
    server = ready_cell.container("sax-model-server")
    assert server["args"] == [
        f"--sax_cell={values['cell']}",
        "--port=10001",
        f"--platform_chip={values['chip']}",
        f"--platform_topology={values['topology']}",
        "--host_ordinal=0",
    ]
    assert server["env"]["SAX_ROOT"] == values["sax_root"]
    assert ready_cell.container("sax-admin")["env"]["SAX_CELL"] == values["cell"]
    assert not (ready_cell.data / "pwned").exists()


def test_model_server_owns_the_host_and_sees_its_servable(ready_cell):
    env = ready_cell.container("sax-model-server")["env"]
    servable = Path(json.loads(env["SAXFLOW_CONTAINER_MOUNTS"])["/etc/saxflow"]) / "servable.json"
    assert json.loads(servable.read_text()) == {"class": "Llama"}
    record = ready_cell.record("sax-model-server")
    assert record["privileged"]
    assert record["network"] == "host"


def test_transparent_huge_pages_are_on(ready_cell):
    root = ready_cell.machines[0].paths.root
    assert (root / "sys/kernel/mm/transparent_hugepage/enabled").read_text() == "always\n"


def test_second_boot_is_a_new_epoch_with_a_new_boot_id_and_a_new_admin_port(cell):
    cell.boot(cell.config())
    first = cell.ready()
    lock = cell.machines[0].paths.root / "tmp/libtpu_lockfile"
    lock.touch()
    cell.machines[0].reset()
    second = cell.await_state(lambda s: s["state"] == "ready" and s["boot_id"] != first["boot_id"])
    assert second["epoch"] == 2
    assert cell.container("sax-admin")["env"]["PORT"] == "10010"
    assert not lock.exists()


def test_script_run_again_by_hand_within_one_boot_converges(cell):
    cell.boot(cell.config())
    cell.ready()
    host = cell.machines[0].paths.host
    config = json.loads((host / "machine.json").read_text())
    metadata_host = cell.container("sax-admin")["env"]["GCE_METADATA_HOST"]
    subprocess.run(
        ["/bin/bash", str(host / "startup-script")],
        env={
            "PATH": f"{host / 'bin'}:/usr/bin:/bin",
            "SAXFLOW_VM_ROOT": config["root"],
            "SAXFLOW_VM_CONTROL": str(host / "control.sock"),
            "GCE_METADATA_HOST": metadata_host,
        },
        check=True,
        capture_output=True,
    )
    assert cell.await_state(lambda s: s["epoch"] == 2 and s["state"] == "ready")


def test_dead_admin_comes_back_on_the_next_port_and_the_server_stays(cell):
    cell.boot(cell.config())
    cell.ready()
    server = cell.record("sax-model-server")["id"]
    cell.crash("sax-admin")
    cell.await_value(lambda: _admin_port(cell) == "10010")
    assert cell.record("sax-model-server")["id"] == server
    assert cell.ready()["epoch"] == 1


def _admin_port(cell):
    admin = cell.started("sax-admin")
    return admin["env"]["PORT"] if admin else None


def test_dead_model_server_comes_back_after_the_pause_as_a_new_epoch(cell):
    cell.boot(cell.config(server_restart_seconds=2))
    cell.ready()
    admin = cell.record("sax-admin")["id"]
    cell.crash("sax-model-server")
    waiting = cell.await_state(lambda s: s["state"] == "server" and s["epoch"] == 2)
    assert "exit code 137" in waiting["message"]
    cell.await_state(lambda s: s["state"] == "ready" and s["epoch"] == 2)
    assert cell.record("sax-admin")["id"] == admin


def test_server_that_never_listens_is_reported_failed_with_its_log(cell, broken_image):
    config = cell.config()
    config["images"]["model_server"] = broken_image
    cell.boot(config)
    state = cell.await_state(lambda s: s["state"] == "failed")
    assert "exit code 9 before it listened, 3 times in a row" in state["message"]
    assert '"role": "broken"' in state["log"]


def test_admin_that_never_listens_is_reported_failed_with_its_log(cell, broken_image):
    config = cell.config()
    config["images"]["admin"] = broken_image
    cell.boot(config)
    state = cell.await_state(lambda s: s["state"] == "failed")
    assert "admin server ended before it listened, 3 times in a row" in state["message"]
    assert '"role": "broken"' in state["log"]


def test_all_model_servers_start_together_and_restart_together(cell):
    cell.boot(cell.config(), hosts=4)
    epochs = {cell.ready(worker)["epoch"] for worker in range(4)}
    assert len(epochs) == 1
    assert [cell.container("sax-model-server", w)["args"][-1] for w in range(4)] == [
        f"--host_ordinal={w}" for w in range(4)
    ]
    assert all(cell.started("sax-admin", w) is None for w in (1, 2, 3))
    admin = cell.record("sax-admin")["id"]
    cell.crash("sax-model-server", 2)
    again = {
        cell.await_state(lambda s: s["state"] == "ready" and s["epoch"] not in epochs, w)["epoch"]
        for w in range(4)
    }
    assert len(again) == 1
    assert cell.record("sax-admin")["id"] == admin


def test_servers_wait_until_every_worker_has_pulled(cell):
    cell.boot(cell.config(), hosts=4)
    cell.machines[3].power_off()
    cell.await_state(lambda s: s["state"] == "server", 0)
    cell.await_state(lambda s: s["state"] == "server", 1)
    assert cell.started("sax-model-server", 0) is None
    cell.machines[3].power_on()
    assert cell.ready(0)
    assert cell.ready(3)


def test_storage_in_trouble_delays_a_boot_and_does_not_break_it(cell):
    config = cell.config()
    cell.faults.arm("storage", "objects.get", "return-503", contains="control/startup.sh")
    cell.faults.arm(
        "storage", "objects.get", "return-reset-connection", contains="control/servable"
    )
    cell.faults.arm("storage", "objects.insert", "return-503", contains="workers/0.json", count=2)
    cell.boot(config)
    cell.ready()
    assert [rule["matched"] > 0 for rule in cell.faults.armed()] == [True] * 3


def test_missing_image_is_reported_failed(cell):
    config = cell.config()
    config["images"]["admin"] = "us-docker.pkg.dev/p/r/sax-admin@sha256:" + "0" * 64
    cell.boot(config)
    state = cell.await_state(lambda s: s["state"] == "failed")
    assert "could not be pulled" in state["message"]
    assert "manifest unknown" in state["log"]


def test_servable_with_another_digest_is_reported_failed(cell):
    config = cell.config()
    config["servable"]["sha256"] = "0" * 64
    cell.boot(config)
    state = cell.await_state(lambda s: s["state"] == "failed")
    assert "servable.json does not have the digest of the plan" in state["message"]


def test_startup_script_with_another_digest_is_never_run(cell):
    config = cell.config()
    config["startup"]["sha256"] = "0" * 64
    cell.boot(config)
    state = cell.await_state(lambda s: s["state"] == "failed")
    assert "could not be fetched and checked" in state["message"]
    assert not (cell.machines[0].paths.root / "var/lib/saxflow/startup.sh").exists()


def test_incomplete_configuration_is_reported_by_name(cell):
    config = cell.config()
    del config["chip"]
    cell.boot(config)
    state = cell.await_state(lambda s: s["state"] == "failed")
    assert "saxflow-config: chip must be a text of one line" in state["log"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("cell", "/sax/test\n--privileged"), ("images", {"admin": "--help", "model_server": "x"})],
)
def test_values_that_could_become_options_are_refused(cell, field, value):
    cell.boot(cell.config(**{field: value}))
    state = cell.await_state(lambda s: s["state"] == "failed")
    assert "saxflow-config: " in state["log"]
