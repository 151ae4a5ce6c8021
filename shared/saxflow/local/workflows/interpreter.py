"""Run a parsed workflow.

A step list is a loop over its steps; `next` travels outward as a `Jump` until a list knows its
target, `return` and `end` until the routine, `break` and `continue` until the loop. Errors are
`WorkflowFailure`s and meet `except` blocks on the way; cancellation passes through them all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

from saxflow.local.workflows.calls import WORLD
from saxflow.local.workflows.evaluator import MISSING, evaluate
from saxflow.local.workflows.failures import (
    Place,
    Value,
    WorkflowFailure,
    failure,
    key_error,
    language_error,
    resource_limit,
    type_error,
)
from saxflow.local.workflows.flow import Flow, Jump, Return, jump_to
from saxflow.local.workflows.loops import run_for
from saxflow.local.workflows.parallel import run_parallel
from saxflow.local.workflows.retrying import run_try
from saxflow.local.workflows.runtime import Runtime
from saxflow.local.workflows.scope import Memory, Scope
from saxflow.local.workflows.stdlib import CONSTANTS, FUNCTIONS
from saxflow.local.workflows.steps import (
    Assign,
    CallStep,
    For,
    Nested,
    Parallel,
    Raise,
    ReturnStep,
    Routine,
    Step,
    StepList,
    Switch,
    Target,
    Try,
    Workflow,
    render,
)
from saxflow.local.workflows.values import FunctionRef, type_name

DEPTH_LIMIT = 20
STEP_LIMIT = 100_000


class Run:
    """One Execution of a workflow: what its frames have in common.

    Args:
        workflow: parsed.
        runtime: the world.
        step_limit: more steps than this are a ResourceLimitError.
    """

    def __init__(self, workflow: Workflow, runtime: Runtime, step_limit: int = STEP_LIMIT) -> None:
        self.workflow = workflow
        self.runtime = runtime
        self.memory = Memory()
        self.top: _Frame | None = None
        self._steps = itertools.count(1)
        self._step_limit = step_limit

    def execute(self, argument: Value) -> Value:
        """Run `main` to its end and return its value.

        Raises:
            WorkflowFailure: an error that nothing caught.
            Cancelled: the Execution was cancelled.
        """
        main = self.workflow.routines["main"]
        arguments = {main.parameters[0].name: argument} if main.parameters else {}
        return _call_routine(self, main, arguments, None)

    def count_step(self) -> None:
        """Count a step about to run.

        Raises:
            WorkflowFailure: ResourceLimitError.
            Cancelled: the Execution was cancelled.
        """
        if next(self._steps) > self._step_limit:
            raise resource_limit(f"more than {self._step_limit} steps in one execution")
        self.runtime.cancellation.check()

    def current_steps(self) -> list[tuple[str, str]]:
        """Return (routine, step) of `main` and of every routine it is waiting for."""
        stack: list[tuple[str, str]] = []
        frame = self.top
        while frame is not None:
            stack.append((frame.routine.name, frame.step.name if frame.step else ""))
            frame = frame.caller
        return stack[::-1]


class _Frame:
    """A routine that is running, or a branch of it: where its expressions find their names."""

    __slots__ = ("caller", "depth", "nesting", "routine", "run", "scope", "step", "width")

    def __init__(
        self, run: Run, routine: Routine, scope: Scope, caller: _Frame | None, depth: int
    ) -> None:
        self.run = run
        self.routine = routine
        self.scope = scope
        self.caller = caller
        self.depth = depth
        self.step: Step | None = None
        self.nesting = caller.nesting if caller else 0
        self.width = caller.width if caller else 1

    def place(self) -> Place | None:
        """Return where it is, None before its first step."""
        step = self.step
        return None if step is None else Place(self.routine.name, step.name, step.mark.line)

    def run_steps(self, steps: StepList) -> Flow:
        """Run a list of steps in the innermost block."""
        return _run_steps(steps, self)

    def sleep(self, seconds: float) -> None:
        """Wait, or leave by `Cancelled`."""
        self.run.runtime.sleep(seconds)

    @contextmanager
    def block(self) -> Generator[Scope]:
        """Enter a block of variables, inside the one that was innermost."""
        outer = self.scope
        self.scope = outer.child()
        try:
            yield self.scope
        finally:
            self.scope.close()
            self.scope = outer

    @contextmanager
    def branch(self, shared: Sequence[str], width: int) -> Generator[_Frame]:
        """Enter a parallel branch; its variables are its own but for `shared`."""
        inner = _Frame(self.run, self.routine, self.scope.child(shared), self.caller, self.depth)
        inner.step = self.step
        inner.nesting = self.nesting + 1
        inner.width = self.width * width
        try:
            yield inner
        finally:
            inner.scope.close()

    def variable(self, name: str) -> Value:
        """Return a variable's value, `MISSING` when there is none."""
        return self.scope.get(name)

    def constant(self, name: str) -> Value:
        """Return a value of the standard library, or a reference to a function, or `MISSING`."""
        if name in self.run.workflow.routines:
            return FunctionRef(name)
        return CONSTANTS.get(name, MISSING)

    def call(self, function: str, arguments: Sequence[Value]) -> Value:
        """Call a function from an expression, with positional arguments."""
        if function in self.run.workflow.routines:
            routine = self.run.workflow.routines[function]
            return _call_routine(self.run, routine, _positional(routine, arguments), self)
        if function in FUNCTIONS:
            known = FUNCTIONS[function]
            known.signature.bind(function, arguments)
            return known.apply(*arguments)
        world = WORLD.get(function)
        if world is None:
            raise key_error(f"function not found: {function}")
        if world.blocking:
            raise type_error(f"{function} blocks; it can only stand in a call step")
        return world.apply(self.run.runtime, world.signature.bind(function, arguments))

    def call_named(self, function: str, arguments: Mapping[str, Value]) -> Value:
        """Call a function from a `call` step, with named arguments."""
        if function in self.run.workflow.routines:
            return _call_routine(self.run, self.run.workflow.routines[function], arguments, self)
        world = WORLD.get(function)
        if world is not None:
            world.signature.check(function, arguments)
            return world.apply(self.run.runtime, arguments)
        if function in FUNCTIONS:
            known = FUNCTIONS[function]
            known.signature.check(function, arguments)
            names = known.signature.names
            return known.apply(*[arguments[name] for name in names if name in arguments])
        raise key_error(f"function not found: {function}")


def _positional(routine: Routine, arguments: Sequence[Value]) -> dict[str, Value]:
    names = [parameter.name for parameter in routine.parameters]
    if len(arguments) > len(names):
        raise type_error(f"{routine.name}() takes {len(names)} arguments, got {len(arguments)}")
    return dict(zip(names, arguments, strict=False))


def _call_routine(
    run: Run, routine: Routine, arguments: Mapping[str, Value], caller: _Frame | None
) -> Value:
    """Run a routine and return its value.

    Raises:
        WorkflowFailure: TypeError, arguments do not fit; RecursionError, more than 20 deep; or
            whatever its steps raise.
    """
    depth = caller.depth + 1 if caller else 1
    if depth > DEPTH_LIMIT:
        raise language_error("RecursionError", f"more than {DEPTH_LIMIT} calls deep")
    frame = _Frame(run, routine, Scope(run.memory), caller, depth)
    outermost = caller is run.top
    if outermost:
        run.top = frame
    try:
        for name, value in _bound(routine, arguments).items():
            frame.scope.declare(name, value)
        flow = frame.run_steps(routine.steps)
    except WorkflowFailure as error:
        if (place := frame.place()) is not None:
            error.trace.append(place)
        raise
    finally:
        frame.scope.close()
        if outermost:
            run.top = caller
    if isinstance(flow, Jump):
        raise failure("SystemError", f"step not found: {flow.target} in {routine.name}")
    return flow.value if flow is not None else None


def _bound(routine: Routine, arguments: Mapping[str, Value]) -> dict[str, Value]:
    names = {parameter.name for parameter in routine.parameters}
    unknown = [name for name in arguments if name not in names]
    if unknown:
        raise type_error(f"{routine.name}: unexpected argument {unknown[0]!r}")
    bound: dict[str, Value] = {}
    for parameter in routine.parameters:
        if parameter.name in arguments:
            bound[parameter.name] = arguments[parameter.name]
        elif parameter.default is not None:
            bound[parameter.name] = parameter.default.value
        else:
            raise type_error(f"{routine.name}: argument {parameter.name!r} is missing")
    return bound


def _run_steps(steps: StepList, frame: _Frame) -> Flow:
    """Run a list of steps; what it returns is a jump or return that leads out of the list."""
    position, count = 0, len(steps.steps)
    while position < count:
        step = steps.steps[position]
        frame.run.count_step()
        frame.step = step
        try:
            flow = _HANDLERS[type(step.body)](step.body, frame)
        except RecursionError:
            raise language_error("RecursionError", "nested too deeply") from None
        if flow is None and step.jump is not None:
            flow = jump_to(step.jump)
        if flow is None:
            position += 1
        elif isinstance(flow, Jump) and flow.target in steps.positions:
            position = steps.positions[flow.target]
        else:
            return flow
    return None


def _assign(body: Assign, frame: _Frame) -> Flow:
    for target, template in body.entries:
        _store(target, render(template, frame), frame)
    return None


def _store(target: Target, value: Value, frame: _Frame) -> None:
    """Assign to a variable or into one."""
    if target.path:
        path = [evaluate(part, frame) for part in target.path]
        frame.scope.assign_path(target.variable, path, value)
    else:
        frame.scope.assign(target.variable, value)


def _call(body: CallStep, frame: _Frame) -> Flow:
    arguments = {name: render(template, frame) for name, template in body.arguments.items()}
    value = frame.call_named(body.function, arguments)
    if body.result is not None:
        _store(body.result, value, frame)
    return None


def _switch(body: Switch, frame: _Frame) -> Flow:
    for branch in body.branches:
        value = render(branch.condition, frame)
        if not isinstance(value, bool):
            raise type_error(f"a condition must be a boolean, not {type_name(value)}")
        if value:
            flow = _HANDLERS[type(branch.body)](branch.body, frame)
            return jump_to(branch.jump) if flow is None and branch.jump is not None else flow
    return None


def _parallel(body: Parallel, frame: _Frame) -> Flow:
    run_parallel(body, frame)
    return None


def _raise(body: Raise, frame: _Frame) -> Flow:
    raise WorkflowFailure(render(body.value, frame))


def _return(body: ReturnStep, frame: _Frame) -> Flow:
    return Return(render(body.value, frame))


def _nested(body: Nested, frame: _Frame) -> Flow:
    return frame.run_steps(body.steps)


_HANDLERS: dict[type, Callable[..., Flow]] = {
    Assign: _assign,
    CallStep: _call,
    Switch: _switch,
    For: run_for,
    Parallel: _parallel,
    Try: run_try,
    Raise: _raise,
    ReturnStep: _return,
    Nested: _nested,
}
