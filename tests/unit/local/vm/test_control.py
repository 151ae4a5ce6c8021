"""Shims, through the socket, as a script calls them."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from saxflow.local.vm.control import SHIM, SOCKET, ControlServer, write_shims
from saxflow.local.vm.docker import Reply


@pytest.fixture
def call(tmp_path, monkeypatch):
    host = tmp_path / ("deep" * 30)  # longer than the path of a Unix socket may be
    host.mkdir()
    seen = []

    def tell(argv, stdin):
        seen.append((argv, stdin))
        return Reply(len(argv), "out\n", "err\n")

    monkeypatch.chdir(tmp_path)
    server = ControlServer(host, {"docker": tell})
    os.chdir(tmp_path)
    server.start()
    write_shims(host / "bin", ["docker"])

    def run(*argv, stdin=""):
        env = {"PATH": f"{host / 'bin'}:/usr/bin:/bin", "SAXFLOW_VM_CONTROL": str(host / SOCKET)}
        return subprocess.run(
            argv, env=env, input=stdin, capture_output=True, text=True, check=False
        )

    yield run, seen
    server.shutdown()
    server.server_close()


def test_command_line_and_answer_pass_through(call):
    run, seen = call
    done = run("docker", "run", "a b", "$(x)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert seen == [(["run", "a b", "$(x)"], "")]


def test_standard_input_passes_when_asked_for(call):
    run, seen = call
    run("docker", "login", "--password-stdin", stdin="secret")
    assert seen == [(["login", "--password-stdin"], "secret")]


def test_python3_is_this_interpreter(call):
    run, _ = call
    assert run("python3", "-c", "print(1)").stdout == "1\n"


def test_shim_is_cheap(call):
    run, _ = call
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run("docker", "ps")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.15
    assert SHIM.exists()
