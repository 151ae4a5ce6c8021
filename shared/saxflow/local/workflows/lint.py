"""Find what a deployment, or the first run, of a workflow would trip over.

Google's JSON schema checks the structure only, and no dry run exists; this knows jumps, functions,
connectors, arguments, variables and limits as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from saxflow.errors import Problem
from saxflow.local.workflows.calls import WORLD
from saxflow.local.workflows.dataflow import Use, analyse, expressions_of, retry_templates
from saxflow.local.workflows.document import Mark, Node, SourceError, read_source
from saxflow.local.workflows.expressions import (
    Binary,
    Call,
    Expression,
    Property,
    Unary,
    dotted,
    walk,
)
from saxflow.local.workflows.failures import WorkflowFailure
from saxflow.local.workflows.http import read_request
from saxflow.local.workflows.parser import parse_workflow
from saxflow.local.workflows.stdlib import CONSTANTS, FUNCTIONS
from saxflow.local.workflows.steps import (
    Assign,
    Body,
    CallStep,
    Computed,
    Constant,
    For,
    Nested,
    Parallel,
    Raise,
    ReturnStep,
    Routine,
    StepList,
    Switch,
    Template,
    Try,
    Workflow,
)

_RESERVED_STEPS = frozenset({"end", "break", "continue"})
_YAML_11 = frozenset({"yes", "no", "on", "off"})
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "not in"})


def check(source: str) -> list[Problem]:
    """Return everything found wrong with a workflow's source, in the order of its lines."""
    try:
        root = read_source(source)
        workflow = parse_workflow(source)
    except SourceError as error:
        return list(error.problems)
    problems = [*check_references(workflow), *_yaml_traps(root, "")]
    for routine in workflow.routines.values():
        problems += _Linter(workflow, routine).advice()
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def check_references(workflow: Workflow) -> list[Problem]:
    """Return what a deployment refuses: jumps, functions, arguments and variables that lead nowhere."""
    routines = workflow.routines.values()
    return [problem for routine in routines for problem in _Linter(workflow, routine).references()]


def _yaml_traps(node: Node, path: str) -> Iterator[Problem]:
    """Yield names and values that readers of YAML 1.1 take for booleans."""
    if isinstance(node.value, dict):
        for name, item in node.value.items():
            place = f"{path}.{name}" if path else name
            if name.lower() in _YAML_11:
                mark = node.keys[name]
                yield Problem(place, f"{name!r} is a boolean in yaml 1.1", mark.line, mark.column)
            yield from _yaml_traps(item, place)
    elif isinstance(node.value, list):
        for item in node.value:
            yield from _yaml_traps(item, path)
    elif node.plain and isinstance(node.value, str) and node.value.lower() in _YAML_11:
        yield node.problem(path, f"{node.value!r} is a boolean in yaml 1.1; put it in quotes")


class _Linter:
    def __init__(self, workflow: Workflow, routine: Routine) -> None:
        self._workflow = workflow
        self._routine = routine
        self._problems: list[Problem] = []
        self._names = list(_step_names(routine.steps))
        self._flow = analyse(routine)
        self._variables = {use.name for use in self._flow.writes}
        self._step = ""

    def references(self) -> list[Problem]:
        if self._routine.name in FUNCTIONS or self._routine.name in _RESERVED_STEPS:
            self._report(self._routine.mark, f"{self._routine.name!r} is a reserved name")
        self._steps(self._routine.steps, frozenset(), loop=False)
        for use in self._flow.undefined():
            if not self._is_known(use.name):
                message = f"symbol {use.name!r} is neither a variable nor a subworkflow"
                self._report_use(use, message)
        for use in self._flow.unshared():
            self._report_use(use, f"{use.name!r} is assigned in a branch; list it under 'shared'")
        return self._problems

    def advice(self) -> list[Problem]:
        for name, count in Counter(self._names).items():
            if count > 1:
                self._report(self._routine.mark, f"step name {name!r} occurs {count} times")
        for use in self._flow.unassigned():
            self._report_use(use, f"variable {use.name!r} is read before it is assigned")
        return self._problems

    def _is_known(self, name: str) -> bool:
        constants = {constant.partition(".")[0] for constant in CONSTANTS}
        return name in self._workflow.routines or name in constants

    def _report(self, mark: Mark, message: str) -> None:
        path = f"{self._routine.name}.{self._step}" if self._step else self._routine.name
        self._problems.append(Problem(path, message, mark.line, mark.column))

    def _report_use(self, use: Use, message: str) -> None:
        path = f"{self._routine.name}.{use.step}"
        self._problems.append(Problem(path, message, use.mark.line, use.mark.column))

    # jumps

    def _steps(self, steps: StepList, outer: frozenset[str], *, loop: bool) -> None:
        visible = outer | set(steps.positions)
        for step in steps.steps:
            self._step = step.name
            if step.name in _RESERVED_STEPS:
                self._report(step.mark, f"step name {step.name!r} is reserved")
            if step.jump is not None:
                self._jump(step.jump, step.jump_mark, visible, loop=loop)
            self._body(step.body, step.mark, visible, loop=loop)

    def _jump(self, target: str, mark: Mark, visible: frozenset[str], *, loop: bool) -> None:
        if target in ("break", "continue"):
            if not loop:
                self._report(mark, f"next: {target} outside of a for loop")
        elif target != "end" and target not in visible:
            where = "cannot be reached from here" if target in self._names else "does not exist"
            self._report(mark, f"next: step {target!r} {where}")

    def _body(self, body: Body, mark: Mark, visible: frozenset[str], *, loop: bool) -> None:
        match body:
            case Assign(entries):
                for target, template in entries:
                    self._template(template)
                    for part in target.path:
                        self._expression(part, mark)
            case CallStep():
                self._call(body, mark)
            case Switch(branches):
                for branch in branches:
                    self._template(branch.condition)
                    self._body(branch.body, mark, visible, loop=loop)
                    if branch.jump is not None:
                        self._jump(branch.jump, mark, visible, loop=loop)
            case For(items=items, bounds=bounds, steps=steps):
                self._template(items)
                self._template(bounds)
                self._steps(steps, frozenset(), loop=True)
            case Parallel():
                self._parallel(body)
            case Try():
                self._try(body, visible, loop=loop)
            case Raise(value) | ReturnStep(value):
                self._template(value)
            case Nested(steps):
                self._steps(steps, visible, loop=loop)

    def _parallel(self, body: Parallel) -> None:
        self._template(body.limit)
        lists = [steps for _, steps in body.branches]
        if body.loop is not None:
            self._template(body.loop.items)
            self._template(body.loop.bounds)
            lists.append(body.loop.steps)
        for steps in lists:
            self._steps(steps, frozenset(), loop=body.loop is not None)
            if any(isinstance(inner, ReturnStep) for inner in _bodies(steps)):
                self._report(
                    self._routine.mark, "'return' in a parallel branch leaves only the branch"
                )

    def _try(self, body: Try, visible: frozenset[str], *, loop: bool) -> None:
        name = self._step
        self._steps(body.steps, visible, loop=loop)
        self._step = name
        for template in retry_templates(body.retry):
            self._template(template)
        if body.retry is not None and isinstance(body.retry.predicate, Computed):
            self._predicate(body.retry.predicate)
        if body.handler is not None:
            self._steps(body.handler, visible, loop=loop)

    def _predicate(self, predicate: Computed) -> None:
        name = dotted(predicate.tree)
        routine = self._workflow.routines.get(name or "")
        if routine is not None:
            if len(routine.parameters) != 1:
                self._report(predicate.mark, f"predicate {name} must take exactly one param")
        elif name not in FUNCTIONS:
            self._report(predicate.mark, f"predicate {name!r} is no function")

    # calls and expressions

    def _call(self, body: CallStep, mark: Mark) -> None:
        problems = self._call_problems(body.function, list(body.arguments))
        for problem in problems or _literal_problems(body):
            self._report(mark, f"call: {body.function}: {problem}")
        for template in body.arguments.values():
            self._template(template)
        for part in body.result.path if body.result else ():
            self._expression(part, mark)

    def _call_problems(self, function: str, given: list[str]) -> list[str]:
        routine = self._workflow.routines.get(function)
        if routine is not None:
            return _routine_problems(routine, given)
        known = WORLD.get(function) or FUNCTIONS.get(function)
        if known is not None:
            return known.signature.problems(given)
        if function.startswith("googleapis."):
            return ["this connector is unknown; use http.* or add it to the connector table"]
        return ["no such function or subworkflow"]

    def _template(self, template: Template | None) -> None:
        for computed in expressions_of(template):
            self._expression(computed.tree, computed.mark)

    def _expression(self, tree: Expression, mark: Mark) -> None:
        for part in walk(tree):
            if isinstance(part, Call):
                self._expression_call(part, mark)
            elif isinstance(part, Binary) and part.operator in _COMPARISONS:
                if isinstance(part.left, Unary) and part.left.operator == "not":
                    self._report(mark, "'not' binds tighter than a comparison; write not(a == b)")
            elif isinstance(part, Property):
                self._constant(part, mark)

    def _constant(self, part: Property, mark: Mark) -> None:
        path = dotted(part) or ""
        module = path.partition(".")[0]
        library = module in ("http", "retry") and module not in self._variables
        if library and path.count(".") == 1 and path not in CONSTANTS:
            self._report(mark, f"{path} is unknown")

    def _expression_call(self, call: Call, mark: Mark) -> None:
        routine = self._workflow.routines.get(call.function)
        world = WORLD.get(call.function)
        if routine is not None:
            names = [parameter.name for parameter in routine.parameters][: len(call.arguments)]
            if len(call.arguments) > len(routine.parameters):
                self._report(mark, f"{call.function}() takes {len(routine.parameters)} arguments")
            for problem in _routine_problems(routine, names):
                self._report(mark, f"{call.function}(): {problem}")
        elif world is not None and world.blocking:
            self._report(mark, f"{call.function} blocks; it can only stand in a call step")
        else:
            self._library_call(call, mark)

    def _library_call(self, call: Call, mark: Mark) -> None:
        known = FUNCTIONS.get(call.function) or WORLD.get(call.function)
        if known is None:
            self._report(mark, f"{call.function}(): no such function or subworkflow")
            return
        signature = known.signature
        if not len(signature.required) <= len(call.arguments) <= len(signature.names):
            self._report(mark, f"{call.function}() takes ({', '.join(signature.names)})")


def _literal_problems(body: CallStep) -> list[str]:
    """Return what is wrong with the literal arguments of an HTTP call."""
    verb = body.function.partition("http.")[2].upper()
    if not body.function.startswith("http.") or body.function not in WORLD:
        return []
    literal = {name: t.value for name, t in body.arguments.items() if isinstance(t, Constant)}
    method = literal.pop("method", "GET") if verb == "REQUEST" else verb
    try:
        read_request(method, {"url": "http://placeholder", **literal})
    except WorkflowFailure as error:
        return [str(error)]
    return []


def _routine_problems(routine: Routine, given: list[str]) -> list[str]:
    names: Mapping[str, bool] = {p.name: p.default is None for p in routine.parameters}
    missing = [f"argument {n!r} is missing" for n, must in names.items() if must and n not in given]
    unknown = [f"unexpected argument {name!r}" for name in given if name not in names]
    return missing + unknown


def _step_names(steps: StepList) -> Iterator[str]:
    for step in steps.steps:
        if step.name in steps.positions:
            yield step.name
        for inner in _lists(step.body):
            yield from _step_names(inner)


def _bodies(steps: StepList) -> Iterator[Body]:
    for step in steps.steps:
        yield step.body
        if isinstance(step.body, Switch):
            yield from (branch.body for branch in step.body.branches)
        for inner in _lists(step.body):
            yield from _bodies(inner)


def _lists(body: Body) -> list[StepList]:
    match body:
        case Nested(steps) | For(steps=steps):
            return [steps]
        case Try(steps=steps, handler=handler):
            return [steps] if handler is None else [steps, handler]
        case Switch(branches):
            return [inner for branch in branches for inner in _lists(branch.body)]
        case Parallel(branches=branches, loop=loop):
            return [steps for _, steps in branches] + ([loop.steps] if loop else [])
        case _:
            return []
