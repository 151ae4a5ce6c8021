"""The Dockerfile that derives our image, and the overlay for a stock one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FAKE_DOCKER = '''#!{python}
"""As much of docker as overlay.sh uses, over a directory instead of an image."""
import os, shutil, subprocess, sys
from pathlib import Path

root = Path({root!r})
arguments = sys.argv[1:]
verb = arguments.pop(0)
if verb == "create":
    print("container")
elif verb == "rm":
    print(*arguments)
elif verb == "cp":
    shutil.copy(root / arguments[0].removeprefix("container:/"), arguments[1])
elif verb == "run":
    entrypoint, mounts, variables = None, [], dict(os.environ)
    while arguments[0].startswith("--"):
        option, _, value = arguments.pop(0).partition("=")
        if option == "--volume":
            mounts.append(value.split(":"))
        elif option == "--env":
            name, _, variables[name] = value.partition("=")
        elif option == "--entrypoint":
            entrypoint = value or arguments.pop(0)
    command = arguments[1:]
    if entrypoint == "find":
        found = sorted(root.joinpath(command[0][1:]).rglob(command[-1].removeprefix("*/")))
        print(*("/" + str(path.relative_to(root)) for path in found), sep="\\n")
    else:
        for host, inside, mode in mounts:
            assert mode == "ro"
            target = root / inside[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if Path(host).is_dir() else shutil.copy)(host, target)
        variables["SAXFLOW_SERVABLE"] = str(root) + variables["SAXFLOW_SERVABLE"]
        script = str(root) + command[0]
        search = ["--search", str(root / "usr/bin")]
        sys.exit(subprocess.call([{python!r}, script, *search, *command[1:]], env=variables))
'''


@pytest.fixture
def overlay(stock_image: Any, model_server: Path, tmp_path: Path) -> Any:
    """Return a function that runs overlay.sh against the stock image."""
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(FAKE_DOCKER.format(python=sys.executable, root=str(stock_image.root)))
    docker.chmod(0o755)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [model_server / "overlay.sh", *arguments],
            env={**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_overlay_prints_the_two_mounts(overlay: Any, stock_image: Any, tmp_path: Path) -> None:
    done = overlay("stock", tmp_path / "overlay")
    assert done.returncode == 0, done.stderr
    lm = "/usr/bin/server.runfiles/__main__/saxml/server/pax/lm"
    assert done.stdout.splitlines() == [
        f"--volume={tmp_path}/overlay/all_imports.py:{lm}/all_imports.py:ro",
        f"--volume={tmp_path}/overlay/saxflow.py:{lm}/params/saxflow.py:ro",
    ]
    assert "saxml.server.pax.lm.params.saxflow.Llama" in done.stderr


def test_overlay_fails_where_the_line_has_no_place(
    overlay: Any, stock_image: Any, tmp_path: Path
) -> None:
    (stock_image.lm / "all_imports.py").write_text("registry = {}\n")
    done = overlay("stock", tmp_path / "overlay")
    assert done.returncode != 0
    assert "fills its registry in another way" in done.stderr
    assert done.stdout == ""


def test_overlay_fails_on_another_image(overlay: Any, stock_image: Any, tmp_path: Path) -> None:
    (stock_image.lm / "params/lm_cloud.py").unlink()
    done = overlay("other", tmp_path / "overlay")
    assert done.returncode != 0
    assert done.stderr.splitlines() == [
        "overlay.sh: no file saxml/server/pax/lm/params/lm_cloud.py in other;"
        " is it a SAX model server image?"
    ]


def test_overlay_without_arguments_says_how(overlay: Any) -> None:
    done = overlay()
    assert done.returncode != 0
    assert "usage: overlay.sh IMAGE DIRECTORY" in done.stderr


def test_overlay_is_clean_shell(model_server: Path) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    subprocess.run([shellcheck, model_server / "overlay.sh"], check=True)


def test_the_dockerfile_builds_on_a_digest_and_checks(model_server: Path) -> None:
    lines = (model_server / "Dockerfile").read_text().splitlines()
    assert "FROM ${SAX_IMAGE}" in lines
    assert "ARG SAX_IMAGE" in lines, "no default: the mirror is the project's own"
    verbs = re.findall(r"register\.py (install|check)", "\n".join(lines))
    assert verbs == ["install", "check"]


@pytest.mark.parametrize(
    ("image", "status"),
    [("mirror/sax@sha256:0123", 0), ("mirror/sax:latest", 1), ("", 1)],
)
def test_an_image_by_tag_is_refused(model_server: Path, image: str, status: int) -> None:
    text = (model_server / "Dockerfile").read_text()
    (condition,) = re.findall(r"^RUN (case .*)$", text, flags=re.MULTILINE)
    done = subprocess.run(
        ["sh", "-c", condition], env={"SAX_IMAGE": image}, capture_output=True, check=False
    )
    assert done.returncode == status


def test_everything_the_dockerfile_copies_is_there(model_server: Path) -> None:
    text = (model_server / "Dockerfile").read_text()
    (copied,) = re.findall(r"^COPY (.*) /opt/saxflow/$", text, flags=re.MULTILINE)
    assert all((model_server / name).is_file() for name in copied.split())
