"""A parsed workflow: typed steps and the templates of their values."""

from __future__ import annotations

from dataclasses import dataclass, field

from saxflow.local.workflows.document import Mark
from saxflow.local.workflows.evaluator import Context, evaluate
from saxflow.local.workflows.expressions import Expression
from saxflow.local.workflows.failures import Value
from saxflow.local.workflows.values import checked_key


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal without any expression inside."""

    value: Value


@dataclass(frozen=True, slots=True)
class Computed:
    """A scalar that is one whole `${...}`."""

    tree: Expression
    mark: Mark


@dataclass(frozen=True, slots=True)
class ListTemplate:
    """A list with an expression somewhere inside."""

    items: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class MapTemplate:
    """A map with an expression somewhere inside, in its keys too."""

    entries: tuple[tuple[Template, Template], ...]


Template = Constant | Computed | ListTemplate | MapTemplate


def render(template: Template, context: Context) -> Value:
    """Return a template's value.

    Raises:
        WorkflowFailure: an expression inside failed.
    """
    if isinstance(template, Constant):
        return template.value
    if isinstance(template, Computed):
        return evaluate(template.tree, context)
    if isinstance(template, ListTemplate):
        return [render(item, context) for item in template.items]
    return {
        checked_key(render(key, context)): render(item, context) for key, item in template.entries
    }


@dataclass(frozen=True, slots=True)
class Target:
    """The left side of an assignment: a variable and the path into it.

    Args:
        path: keys and positions, each an expression; `a.b[c]` is variable `a`, path `"b"`, `c`.
    """

    variable: str
    path: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Assign:
    """`assign`."""

    entries: tuple[tuple[Target, Template], ...]


@dataclass(frozen=True, slots=True)
class CallStep:
    """`call`, with `args` and `result`."""

    function: str
    arguments: dict[str, Template]
    result: Target | None
    marks: dict[str, Mark] = field(default_factory=dict[str, Mark])


@dataclass(frozen=True, slots=True)
class Branch:
    """One condition of a `switch` and what it leads to."""

    condition: Template
    body: Body
    jump: str | None


@dataclass(frozen=True, slots=True)
class Switch:
    """`switch`: the first condition that holds wins."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class For:
    """`for`: over a list (`items`) or an inclusive range."""

    value: str
    index: str | None
    items: Template | None
    bounds: Template | None
    steps: StepList


@dataclass(frozen=True, slots=True)
class Parallel:
    """`parallel`: named branches or the iterations of a loop."""

    shared: tuple[str, ...]
    limit: Template | None
    branches: tuple[tuple[str, StepList], ...] = ()
    loop: For | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """`retry`: a whole policy as one expression, or its parts."""

    policy: Template | None = None
    predicate: Template | None = None
    max_retries: Template | None = None
    backoff: dict[str, Template] = field(default_factory=dict[str, Template])


@dataclass(frozen=True, slots=True)
class Try:
    """`try`, with `retry` and `except`."""

    steps: StepList
    retry: Retry | None
    error_name: str | None
    handler: StepList | None


@dataclass(frozen=True, slots=True)
class Raise:
    """`raise`."""

    value: Template


@dataclass(frozen=True, slots=True)
class ReturnStep:
    """`return`."""

    value: Template


@dataclass(frozen=True, slots=True)
class Nested:
    """`steps`, or a step that is only a jump."""

    steps: StepList


Body = Assign | CallStep | Switch | For | Parallel | Try | Raise | ReturnStep | Nested


@dataclass(frozen=True, slots=True)
class Step:
    """A named step.

    Args:
        jump: where `next` leads; None goes on to the following step.
    """

    name: str
    body: Body
    jump: str | None
    mark: Mark
    jump_mark: Mark = field(default_factory=Mark)


@dataclass(frozen=True, slots=True)
class StepList:
    """Steps in order; `positions` finds one by name."""

    steps: tuple[Step, ...]
    positions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a (sub)workflow; `default` is None where a value must be given."""

    name: str
    default: Constant | None


@dataclass(frozen=True, slots=True)
class Routine:
    """`main` or a subworkflow."""

    name: str
    parameters: tuple[Parameter, ...]
    steps: StepList
    mark: Mark


@dataclass(frozen=True, slots=True)
class Workflow:
    """A parsed source: its routines by name, `main` among them."""

    routines: dict[str, Routine]
