"""Command lines of a VM's programs: taken apart, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from saxflow.errors import InputError


@dataclass(frozen=True)
class Reply:
    """What a command answers: exit code and both streams."""

    code: int = 0
    stdout: str = ""
    stderr: str = ""


class UsageError(InputError):
    """An option or argument that the real command would not take."""


@dataclass
class Parsed:
    """A command line taken apart; repeated options keep their order."""

    flags: set[str] = field(default_factory=set[str])
    values: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    rest: list[str] = field(default_factory=list[str])

    def all(self, *names: str) -> list[str]:
        """Return every value given under any of the names."""
        return [value for name, value in self.values if name in names]

    def last(self, *names: str, default: str = "") -> str:
        """Return the value given last under any of the names."""
        return (self.all(*names) or [default])[-1]

    def has(self, *names: str) -> bool:
        """Say whether one of the flags was given."""
        return any(name in self.flags for name in names)


def parse(argv: Sequence[str], flags: set[str], values: set[str]) -> Parsed:
    """Take options off the front of a command line.

    Raises:
        UsageError: an unknown option, or one without its value.
    """
    parsed = Parsed()
    words = list(argv)
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if name in values:
            if not equals and not words:
                raise UsageError(f"flag needs an argument: {name}")
            parsed.values.append((name, value if equals else words.pop(0)))
        elif word in flags:
            parsed.flags.add(word)
        elif not _short_cluster(word, flags, parsed):
            raise UsageError(f"unknown flag: {word}")
    parsed.rest = words
    return parsed


def _short_cluster(word: str, flags: set[str], parsed: Parsed) -> bool:
    if word.startswith("--") or not all(f"-{letter}" in flags for letter in word[1:]):
        return False
    parsed.flags.update(f"-{letter}" for letter in word[1:])
    return True
