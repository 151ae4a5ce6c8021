"""What a function of the standard library is, and how its arguments are bound and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from saxflow.local.workflows.failures import Value, type_error
from saxflow.local.workflows.values import is_number, type_name

T = TypeVar("T")


@dataclass(frozen=True)
class Signature:
    """Names of parameters in order.

    Args:
        required: must be given.
        optional: may be given; the function's own defaults hold otherwise.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Signature:
        """Read `source start end?`; a question mark makes a parameter optional."""
        words = text.split()
        return cls(
            tuple(word for word in words if not word.endswith("?")),
            tuple(word[:-1] for word in words if word.endswith("?")),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of positional arguments."""
        return self.required + self.optional

    def problems(self, given: Sequence[str]) -> list[str]:
        """Return what is wrong with a set of argument names."""
        missing = [f"argument {name!r} is missing" for name in self.required if name not in given]
        unknown = [
            f"unexpected argument {name!r}; known are {', '.join(self.names) or 'none'}"
            for name in given
            if name not in self.names
        ]
        return missing + unknown

    def bind(self, function: str, arguments: Sequence[Value]) -> dict[str, Value]:
        """Name positional arguments.

        Raises:
            WorkflowFailure: TypeError, too few or too many.
        """
        if not len(self.required) <= len(arguments) <= len(self.names):
            raise type_error(
                f"{function}() takes {len(self.required)} to {len(self.names)} arguments"
                f" ({', '.join(self.names)}), got {len(arguments)}"
            )
        return dict(zip(self.names, arguments, strict=False))

    def check(self, function: str, arguments: Mapping[str, Value]) -> None:
        """Refuse named arguments that do not fit.

        Raises:
            WorkflowFailure: TypeError, one is missing or unknown.
        """
        if arguments.keys() >= set(self.required) and arguments.keys() <= set(self.names):
            return
        raise type_error(f"{function}: {'; '.join(self.problems(list(arguments)))}")


@dataclass(frozen=True)
class Function:
    """A pure function of the standard library, called by name with its arguments."""

    signature: Signature
    apply: Callable[..., Value]


def pure(parameters: str, apply: Callable[..., Value]) -> Function:
    """Return a function from its parameters, as `Signature.of` reads them, and its Python form."""
    return Function(Signature.of(parameters), apply)


def expect(value: Value, kind: type[T], what: str) -> T:
    """Return a value of exactly this type.

    Raises:
        WorkflowFailure: TypeError, it is of another.
    """
    if type(value) is kind:
        return cast(T, value)
    wanted = type_name(kind())
    raise type_error(f"{what} must be of type {wanted}, not {type_name(value)}")


def expect_number(value: Value, what: str) -> Any:
    """Return an integer or double.

    Raises:
        WorkflowFailure: TypeError, it is neither.
    """
    if is_number(value):
        return value
    raise type_error(f"{what} must be a number, not {type_name(value)}")
