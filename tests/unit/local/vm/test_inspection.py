"""What is shown of a container."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saxflow.local.vm.commands import UsageError, parse
from saxflow.local.vm.docker import described
from saxflow.local.vm.inspection import columns, details, render, row


def test_templates_name_fields_that_exist():
    container = described(parse(["img"], set(), set()))
    assert render("{{.Image}}|{{json .Names}}", row(container)).startswith("img|")
    assert details(container)["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    with pytest.raises(UsageError, match="no field"):
        render("{{.State.Colour}}", details(container))


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("created", "Created"),
        ("running", "Up"),
        ("restarting", "Restarting (3)"),
        ("exited", "Exited (3)"),
    ],
)
def test_columns_tell_the_status_as_docker_does(status, shown):
    container = described(parse(["--name", "cc", "img"], set(), {"--name"}))
    container = replace(container, status=status, exit_code=3)
    assert columns(container) == (container.id[:12], "img", shown, "cc")
