"""The docker command line."""

from __future__ import annotations

import json

import pytest

from saxflow.local.vm.commands import Reply, parse
from saxflow.local.vm.docker import described

RUN = ("run", "-d", "--name", "cc", "--network=host", "--privileged")


def test_run_inspect_logs_rm(docker, eventually):
    reply = docker(
        *RUN, "-e", "A=b=c", "-v", "/host:/inside:ro", "--label", "x=y", "--add-host", "h:1.2.3.4",
        "--log-opt", "max-size=50m", "--restart", "no", "sh", "echo $A; exec sleep 600",
    )  # fmt: skip
    assert reply.code == 0
    (facts,) = json.loads(docker("inspect", "cc").stdout)
    assert facts["Id"] == reply.stdout.strip()
    assert facts["State"]["Running"] is True
    assert facts["Config"]["Env"] == ["A=b=c"]
    assert facts["HostConfig"]["ExtraHosts"] == ["h:1.2.3.4"]
    assert docker("inspect", "-f", "{{.State.Running}} {{json .Config.Labels}}", "cc").stdout == (
        'true {"x": "y"}\n'
    )
    eventually(lambda: docker("logs", "cc").stdout == "b=c\n")
    assert docker("rm", "-f", "cc").stdout == "cc\n"
    assert docker("inspect", "cc").code == 1


def test_foreground_run_answers_output_and_exit_code(docker):
    assert docker("run", "--rm", "sh", "echo out; exit 3") == Reply(3, "out\n")
    assert docker("ps", "-aq").stdout == ""


def test_ps_filters_and_formats(docker):
    docker(*RUN, "sleep", "600")
    docker("run", "--name", "ended", "sh", "true")
    assert docker("ps", "--format", "{{.Names}}").stdout == "cc\n"
    assert docker("ps", "-a", "--filter", "name=end", "--format", "{{.State}}").stdout == "exited\n"
    assert len(docker("ps", "-aq").stdout.split()) == 2
    assert "CONTAINER ID" in docker("ps").stdout
    assert docker("ps", "--filter", "colour=red").code == 125
    assert "'name=('" in docker("ps", "--filter", "name=(").stderr


def test_stop_start_restart_kill_wait(docker):
    docker(*RUN, "sleep", "600")
    assert docker("stop", "-t", "1", "cc").code == 0
    assert docker("start", "cc").code == 0
    assert docker("restart", "-t", "1", "cc").code == 0
    assert docker("kill", "cc").code == 0
    assert docker("wait", "cc").stdout == "137\n"


def test_logs_tail(docker):
    docker("run", "--name", "cc", "sh", "echo 1; echo 2; echo 3")
    assert docker("logs", "--tail", "2", "cc").stdout == "2\n3\n"


def test_exec_runs_with_the_containers_environment(docker):
    docker(*RUN, "-e", "A=1", "sleep", "600")
    assert docker("exec", "cc", "sh", "-c", "echo $A; exit 2") == Reply(2, "1\n", "")
    assert docker("exec", "cc", "/no/such").code == 127
    assert docker("exec", "cc", "printf", r"\377").stdout == "\ufffd"
    docker("kill", "cc")
    assert "is not running" in docker("exec", "cc", "true").stderr


def test_images_are_pulled_and_inspected(docker):
    assert docker("image", "inspect", "sh").code == 1
    assert docker("pull", "-q", "sh").code == 0
    assert docker("image", "inspect", "sh").code == 0
    assert docker("images").stdout == "sh\n"
    assert "manifest unknown" in docker("pull", "none@sha256:0").stderr


def test_login_needs_a_password(docker):
    login = ("login", "-u", "oauth2accesstoken", "--password-stdin", "https://us-docker.pkg.dev")
    assert docker(*login, stdin="ya29.x\n").code == 0
    assert docker(*login).code == 125


def test_rm_of_what_is_not_there(docker):
    assert docker("rm", "-f", "none").code == 0
    assert docker("rm", "none").code == 1


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("swarm",), 1, "not a docker command"),
        ((), 1, "not a docker command"),
        (("run",), 125, "at least 1 argument"),
        (("run", "--gpus", "all", "sh"), 125, "unknown flag: --gpus"),
        (("run", "--name"), 125, "needs an argument"),
        (("run", "--name", "a b", "sh"), 125, "Invalid container name"),
        (("run", "--restart", "sometimes", "sh"), 125, "invalid restart policy"),
        (("run", "-v", "relative:/x", "sh"), 125, "invalid volume"),
        (("run", "none"), 125, "manifest unknown"),
        (("pull",), 125, "exactly 1 argument"),
        (("exec", "x"), 125, "at least 2 arguments"),
        (("image", "rm"), 125, "unknown command"),
        (("stop", "none"), 1, "No such container"),
        (("run", "--restart", "on-failure:x", "sh"), 125, "'on-failure:x'"),
        (("run", "--restart", "always:3", "sh"), 125, "'always:3'"),
        (("run", "--env-file", "/no/such", "sh"), 125, "/no/such"),
        (("run", "-e", "HOME", "sh"), 125, "'HOME'; write NAME=VALUE"),
        (("run", "-w", "/no/such", "sh", "true"), 125, "/no/such"),
        (("stop", "-t", "soon", "x"), 125, "'soon'"),
        (("restart", "-t", "soon", "x"), 125, "'soon'"),
        (("logs", "--tail", "few", "x"), 125, "'few'"),
        (("logs",), 125, "exactly 1 argument"),
    ],
)
def test_what_docker_refuses(docker, argv, code, words):
    reply = docker(*argv)
    assert reply.code == code
    assert words in reply.stderr


def test_version_is_told(docker):
    assert docker("version").code == 0


def test_env_files_come_before_env(tmp_path):
    file = tmp_path / "env"
    file.write_text("# comment\nA=1\nB=2\n")
    parsed = parse(["-e", "A=9", "--env-file", str(file), "img"], set(), {"-e", "--env-file"})
    assert described(parsed).env == {"A": "9", "B": "2"}
