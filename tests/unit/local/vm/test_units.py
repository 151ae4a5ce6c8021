"""systemctl and units."""

from __future__ import annotations

import os
import re

import pytest

from saxflow.errors import InputError
from saxflow.local.vm.units import UNIT_DIRECTORY, Systemctl, read_unit

UNIT = """[Unit]
Description=x

[Service]
Environment="A=b c" "D=e"
ExecStart=/bin/sh -c "echo $A >>{log}; {then}"
Restart=always
RestartSec={pause}
"""


@pytest.fixture
def machine(tmp_path):
    log = tmp_path / "log"
    log.touch()
    made = []

    def make(then="sleep 600", pause="0.01"):
        directory = tmp_path / UNIT_DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "x.service").write_text(UNIT.format(log=log, then=then, pause=pause))
        made.append(Systemctl(tmp_path, {"PATH": os.environ["PATH"]}))
        return made[-1], log

    yield make
    for systemctl in made:
        systemctl(["stop", "x"], "")


@pytest.fixture
def lines(eventually):
    """Wait until a file has so many lines and return them."""

    def wait(log, count):
        eventually(lambda: len(log.read_text().splitlines()) >= count)
        return log.read_text().splitlines()

    return wait


def test_unit_file_is_read():
    unit = read_unit("x.service", UNIT.format(log="/l", then="true", pause="2s"))
    assert unit.exec_start == ["/bin/sh", "-c", "echo $A >>/l; true"]
    assert unit.environment == {"A": "b c", "D": "e"}
    assert (unit.restart, unit.restart_seconds) == ("always", 2.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[Service]\n", "no ExecStart="),
        ("nonsense\n", "'nonsense'"),
        ("ExecStart=/bin/sh 'x\n", "ExecStart=/bin/sh 'x"),
        ("ExecStart=\n", "no ExecStart="),
        ("ExecStart=x\nEnvironment=A\n", "Environment=A"),
        ("ExecStart=x\nEnvironment='A=b\n", "Environment='A=b"),
        ("ExecStart=x\nRestartSec=100ms\n", "RestartSec=100ms"),
        ("ExecStart=x\nRestartSec=nan\n", "RestartSec=nan"),
    ],
)
def test_bad_unit_is_refused_by_name_and_line(text, words):
    with pytest.raises(InputError, match=re.escape("x.service")) as caught:
        read_unit("x.service", text)
    assert words in str(caught.value)


def test_start_runs_and_stop_ends_it(machine, lines):
    systemctl, log = machine()
    assert systemctl(["daemon-reload"], "").code == 0
    assert systemctl(["start", "x"], "").code == 0
    assert lines(log, 1) == ["b c"]
    assert systemctl(["is-active", "x.service"], "").stdout == "active\n"
    assert systemctl(["stop", "x"], "").code == 0
    assert systemctl(["is-active", "--quiet", "x"], "").code == 3


def test_restart_always_brings_it_back(machine, lines):
    systemctl, log = machine(then="exit 0")
    systemctl(["start", "x"], "")
    assert len(lines(log, 3)) >= 3


def test_stop_during_the_pause_keeps_it_stopped(machine, lines):
    systemctl, log = machine(then="exit 1", pause="600")
    systemctl(["start", "x"], "")
    lines(log, 1)
    systemctl(["stop", "x"], "")
    assert systemctl(["is-active", "x"], "").code == 3


def test_restart_starts_what_is_stopped(machine, lines):
    systemctl, log = machine()
    systemctl(["restart", "x"], "")
    lines(log, 1)
    systemctl(["restart", "x"], "")
    assert lines(log, 2) == ["b c", "b c"]


def test_enabled_units_come_up_at_boot(machine, lines):
    systemctl, log = machine()
    assert systemctl(["enable", "x"], "").code == 0
    systemctl.boot()
    lines(log, 1)
    assert systemctl(["disable", "x"], "").code == 0
    systemctl(["stop", "x"], "")
    systemctl.boot()
    assert systemctl(["is-active", "x"], "").code == 3


def test_boot_goes_on_without_units_that_cannot_start(machine, lines, tmp_path):
    systemctl, log = machine()
    units = tmp_path / UNIT_DIRECTORY
    (units / "a.service").write_text("nonsense\n")
    systemctl(["enable", "x"], "")
    for name in ("a", "b"):
        (units / f"multi-user.target.wants/{name}.service").touch()
    systemctl.boot()
    assert lines(log, 1) == ["b c"]


def test_now_starts_what_is_enabled_and_stops_what_is_disabled(machine, lines):
    systemctl, log = machine()
    systemctl(["enable", "--now", "x"], "")
    assert lines(log, 1) == ["b c"]
    systemctl(["disable", "--now", "x"], "")
    assert systemctl(["is-active", "x"], "").code == 3


@pytest.mark.parametrize("argv", [["start", "none"], ["hibernate"], ["--what"]])
def test_what_systemctl_refuses(machine, argv):
    systemctl, _ = machine()
    reply = systemctl(argv, "")
    assert reply.code == 1
    assert reply.stderr
