"""Shims, through the socket, as a script calls them."""

from __future__ import annotations

import os
import resource
import subprocess

import pytest

from saxflow.local.vm.control import (
    SHIM,
    SOCKET,
    ControlServer,
    answer_bytes,
    read_request,
    write_shims,
)
from saxflow.local.vm.docker import Reply


@pytest.fixture
def call(tmp_path, monkeypatch):
    host = tmp_path / ("deep" * 30)  # longer than the path of a Unix socket may be
    host.mkdir()
    seen = []

    def tell(argv, stdin):
        if argv == ["break"]:
            raise OSError("no room")
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


def test_a_call_that_breaks_is_told_and_the_next_is_answered(call):
    run, _ = call
    done = run("docker", "break")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "docker: the VM gave no answer; why is in its machine.log\n"
    assert run("docker", "ps").returncode == 1


def test_standard_input_passes_when_asked_for(call):
    run, seen = call
    run("docker", "login", "--password-stdin", stdin="secret")
    assert seen == [(["login", "--password-stdin"], "secret")]


@pytest.mark.parametrize(
    ("data", "words", "stdin"),
    [
        (b"2\0docker\0ps\0", ["docker", "ps"], ""),
        (b"3\0docker\0\0x y\0in\0put", ["docker", "", "x y"], "in\0put"),
        (b"2\0docker\0\xff\0", ["docker", "\udcff"], ""),
    ],
)
def test_requests_keep_empty_words_and_any_bytes(data, words, stdin):
    assert read_request(data) == (words, stdin)


def test_answers_count_bytes():
    assert answer_bytes(Reply(3, "ä", "e")) == b"3 2\n\xc3\xa4e"


def test_python3_is_this_interpreter(call):
    run, _ = call
    assert run("python3", "-c", "print(1)").stdout == "1\n"


def test_shim_costs_little_processor_time(call):
    run, _ = call
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(5):
        run("docker", "ps")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds / 5 < 0.15
    assert SHIM.exists()
