"""Command lines taken apart."""

from __future__ import annotations

import pytest

from saxflow.local.vm.commands import Reply, UsageError, parse


def test_options_end_at_the_image():
    parsed = parse(["-dit", "--name=x", "img", "-d", "--name"], {"-d", "-i", "-t"}, {"--name"})
    assert parsed.has("-d")
    assert parsed.last("--name") == "x"
    assert parsed.rest == ["img", "-d", "--name"]


def test_repeated_options_keep_their_order_and_the_last_counts():
    parsed = parse(["-e", "A=1", "--env=B=2", "-e", "A=3"], set(), {"-e", "--env"})
    assert parsed.all("-e", "--env") == ["A=1", "B=2", "A=3"]
    assert parsed.last("-e") == "A=3"
    assert parsed.last("--name", default="none") == "none"


def test_two_dashes_end_the_options():
    assert parse(["--", "-d"], {"-d"}, set()).rest == ["-d"]


@pytest.mark.parametrize("argv", [["--name"], ["-x"], ["-dx"], ["--detach=1"]])
def test_what_no_command_takes_is_refused(argv):
    with pytest.raises(UsageError, match=argv[0]):
        parse(argv, {"-d", "--detach"}, {"--name"})


def test_a_reply_is_silent_success():
    assert Reply() == Reply(0, "", "")
