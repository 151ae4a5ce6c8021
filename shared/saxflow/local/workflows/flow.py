"""How control leaves a list of steps, and the frame in which lists inside of steps run.

Steps that hold other steps (`for`, `try`, `parallel`) know this much of the interpreter, which knows
all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from saxflow.local.workflows.evaluator import Context
from saxflow.local.workflows.failures import Place, Value
from saxflow.local.workflows.scope import Scope
from saxflow.local.workflows.steps import StepList


@dataclass(frozen=True, slots=True)
class Jump:
    """A `next` on its way to the step it names."""

    target: str


@dataclass(frozen=True, slots=True)
class Return:
    """A `return`, or the end of the routine, on its way to the caller."""

    value: Value


Flow = Jump | Return | None
"""What leads out of a list of steps; None goes on behind it."""

BREAK: Final = Jump("break")
CONTINUE: Final = Jump("continue")
_SPECIAL: dict[str, Flow] = {"end": Return(None), "break": BREAK, "continue": CONTINUE}


def jump_to(target: str) -> Flow:
    """Return what `next: target` means."""
    return _SPECIAL.get(target) or Jump(target)


class Frame(Context, Protocol):
    """A routine that is running, or a branch of it."""

    @property
    def nesting(self) -> int:
        """How many parallel steps are around it."""
        ...

    @property
    def width(self) -> int:
        """How many branches those may run at once."""
        ...

    def place(self) -> Place | None:
        """Return where it is, None before its first step."""
        ...

    def run_steps(self, steps: StepList) -> Flow:
        """Run a list of steps in the innermost block."""
        ...

    def block(self) -> AbstractContextManager[Scope]:
        """Enter a block of variables, inside the one that was innermost."""
        ...

    def branch(self, shared: Sequence[str], width: int) -> AbstractContextManager[Frame]:
        """Enter a parallel branch, one of `width`; of outer variables it writes only the shared."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Cancelled: the Execution was cancelled meanwhile.
        """
        ...
