"""Parse a workflow's source into typed steps, reporting every problem at once.

Paths in problems are `workflow.step`, as the service names them in its own parse errors.

Source: https://cloud.google.com/workflows/docs/reference/syntax
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from saxflow.errors import Problem
from saxflow.local.workflows.document import Mark, Node, SourceError, read_source
from saxflow.local.workflows.lexer import ExpressionError
from saxflow.local.workflows.steps import (
    Assign,
    Body,
    Branch,
    CallStep,
    Constant,
    For,
    Nested,
    Parallel,
    Parameter,
    Raise,
    Retry,
    ReturnStep,
    Routine,
    Step,
    StepList,
    Switch,
    Target,
    Template,
    Try,
    Workflow,
)
from saxflow.local.workflows.templates import read_target, read_template

ASSIGNMENT_LIMIT = 50
CONDITION_LIMIT = 50
BRANCH_LIMIT = 10
PARAMETER_LIMIT = 10

_EMPTY = StepList((), {})
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMPANIONS = {"call": {"args", "result"}, "try": {"retry", "except"}}


@lru_cache(maxsize=32)
def parse_workflow(source: str) -> Workflow:
    """Parse a source; what comes of it is never changed, so a source is parsed once.

    Raises:
        SourceError: with every structural problem found.
    """
    parser = _Parser()
    workflow = parser.workflow(read_source(source))
    if parser.problems:
        raise SourceError(parser.problems)
    return workflow


class _Parser:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._path: list[str] = []

    def _report(self, node: Node, message: str) -> None:
        self.problems.append(node.problem(".".join(self._path), message))

    def _report_key(self, node: Node, key: str, message: str) -> None:
        mark = node.keys.get(key, node.mark)
        self.problems.append(Problem(".".join(self._path), message, mark.line, mark.column))

    # routines

    def workflow(self, root: Node) -> Workflow:
        if isinstance(root.value, list):
            self._path = ["main"]
            return Workflow({"main": Routine("main", (), self._steps(root), root.mark)})
        if not isinstance(root.value, dict):
            self._report(root, "a workflow is a list of steps or a map with 'main'")
            return Workflow({})
        if "main" not in root.value:
            self._report(root, "'main' is missing")
        return Workflow({name: self._routine(name, node) for name, node in root.value.items()})

    def _routine(self, name: str, node: Node) -> Routine:
        self._path = [name]
        if not _IDENTIFIER.fullmatch(name):
            self._report(node, f"workflow name {name!r} must be letters, digits and underscores")
        fields = self._fields(node, {"params", "steps"})
        limit = 1 if name == "main" else PARAMETER_LIMIT
        parameters = self._parameters(fields.get("params"), limit)
        if "steps" not in fields:
            self._report(node, "'steps' is missing")
            return Routine(name, parameters, _EMPTY, node.mark)
        return Routine(name, parameters, self._steps(fields["steps"]), node.mark)

    def _parameters(self, node: Node | None, limit: int) -> tuple[Parameter, ...]:
        items = self._items(node, "params") if node is not None else []
        parameters = [p for item in items if (p := self._parameter(item)) is not None]
        if node is not None and len(items) > limit:
            self._report(node, f"{len(items)} params; at most {limit} allowed here")
        names = [parameter.name for parameter in parameters]
        if node is not None and len(set(names)) != len(names):
            self._report(node, f"params {names} name one twice")
        return tuple(parameters)

    def _parameter(self, node: Node) -> Parameter | None:
        if isinstance(node.value, str) and _IDENTIFIER.fullmatch(node.value):
            return Parameter(node.value, None)
        if isinstance(node.value, dict) and len(node.value) == 1:
            ((name, default),) = node.value.items()
            if _IDENTIFIER.fullmatch(name):
                template = read_template(default, self._report)
                if isinstance(template, Constant):
                    return Parameter(name, template)
                self._report(default, f"the default of {name!r} must be a literal")
                return None
        self._report(node, "a param is a name, or one 'name: default'")
        return None

    # steps

    def _steps(self, node: Node) -> StepList:
        items = self._items(node, "steps")
        if isinstance(node.value, list) and not items:
            self._report(node, "at least one step is needed")
        steps: list[Step] = []
        positions: dict[str, int] = {}
        for item in items:
            step = self._named_step(item)
            if step is None:
                continue
            if step.name in positions:
                self._report(item, f"step {step.name!r} occurs twice in one list")
            positions[step.name] = len(steps)
            steps.append(step)
        return StepList(tuple(steps), positions)

    def _named_step(self, node: Node) -> Step | None:
        if not isinstance(node.value, dict) or len(node.value) != 1:
            self._report(node, "a step is a map with one key, its name")
            return None
        ((name, content),) = node.value.items()
        self._path.append(name)
        body, jump, mark = self._step(content)
        self._path.pop()
        return Step(name, body, jump, node.keys[name], mark)

    def _step(
        self, node: Node, *, extra: Iterable[str] = (), jumps: bool = True
    ) -> tuple[Body, str | None, Mark]:
        """Parse the content of a step; `extra` keys belong to the caller."""
        if not isinstance(node.value, dict):
            self._report(node, "a step is a map such as 'call: http.get'")
            return Nested(_EMPTY), None, node.mark
        kinds = [key for key in node.value if key in _KINDS]
        if len(kinds) > 1:
            self._report(node, f"a step has one of {', '.join(kinds)}, not several")
        allowed = set(kinds[:1]) | _COMPANIONS.get(kinds[0] if kinds else "", set()) | set(extra)
        if jumps:
            allowed.add("next")
        for key in node.value:
            if key not in allowed and key not in kinds[1:]:
                self._report_key(node, key, f"unexpected entry {key!r}")
        if not kinds and "next" not in node.value:
            self._report(node, f"the step does nothing; give it one of {', '.join(_KINDS)} or next")
        body = _KINDS[kinds[0]](self, node) if kinds else Nested(_EMPTY)
        return body, self._jump(node), node.keys.get("next", node.mark)

    def _jump(self, node: Node) -> str | None:
        following = node.value.get("next")
        if following is None:
            return None
        if not isinstance(following.value, str) or "${" in following.value:
            self._report(following, f"next: {following.value!r} must be the name of a step")
            return None
        return following.value

    def parse_nested(self, node: Node) -> Body:
        return Nested(self._steps(node.value["steps"]))

    def parse_assign(self, node: Node) -> Body:
        listing = node.value["assign"]
        items = self._items(listing, "assign")
        if not 1 <= len(items) <= ASSIGNMENT_LIMIT:
            self._report(listing, f"{len(items)} assignments; 1 to {ASSIGNMENT_LIMIT} allowed")
        return Assign(tuple(e for item in items if (e := self._assignment(item)) is not None))

    def _assignment(self, node: Node) -> tuple[Target, Template] | None:
        if not isinstance(node.value, dict) or len(node.value) != 1:
            self._report(node, "an assignment is a map with one key, for example '- total: 0'")
            return None
        ((name, value),) = node.value.items()
        target = self._target(node, name)
        template = read_template(value, self._report)
        return None if target is None else (target, template)

    def _target(self, node: Node, text: str) -> Target | None:
        try:
            return read_target(text)
        except ExpressionError as error:
            self._report(node, str(error))
            return None

    def parse_call(self, node: Node) -> Body:
        function = node.value["call"]
        if not isinstance(function.value, str) or not re.fullmatch(r"[\w.]+", function.value):
            self._report(function, f"call: {function.value!r} must be the name of a function")
        arguments = node.value.get("args", Node({}))
        if not isinstance(arguments.value, dict):
            self._report(arguments, "args is a map of names to values")
            arguments = Node({})
        templates = {k: read_template(v, self._report) for k, v in arguments.value.items()}
        result = node.value.get("result")
        target = None
        if result is not None:
            target = self._target(result, str(result.value))
        return CallStep(str(function.value), templates, target, arguments.keys)

    def parse_switch(self, node: Node) -> Body:
        listing = node.value["switch"]
        items = self._items(listing, "switch")
        if not 1 <= len(items) <= CONDITION_LIMIT:
            self._report(listing, f"{len(items)} conditions; 1 to {CONDITION_LIMIT} allowed")
        return Switch(tuple(b for item in items if (b := self._branch(item)) is not None))

    def _branch(self, node: Node) -> Branch | None:
        if not isinstance(node.value, dict) or "condition" not in node.value:
            self._report(node, "an entry of switch needs a 'condition'")
            return None
        condition = read_template(node.value["condition"], self._report)
        if isinstance(condition, Constant) and not isinstance(condition.value, bool):
            self._report(node.value["condition"], "a condition is ${...}, true or false")
        body, jump, _ = self._step(node, extra=("condition",))
        return Branch(condition, body, jump)

    def parse_for(self, node: Node) -> Body:
        return self._loop(node.value["for"])

    def _loop(self, node: Node) -> For:
        fields = self._fields(node, {"value", "index", "in", "range", "steps"})
        if ("in" in fields) == ("range" in fields):
            self._report(node, "'for' needs exactly one of 'in' and 'range'")
        for key in ("value", "steps"):
            if key not in fields:
                self._report(node, f"'for' needs {key!r}")
        return For(
            value=self._name(fields.get("value"), "value") or "",
            index=self._name(fields.get("index"), "index"),
            items=self._items_template(fields.get("in")),
            bounds=self._range(fields.get("range")),
            steps=self._steps(fields["steps"]) if "steps" in fields else _EMPTY,
        )

    def _name(self, node: Node | None, what: str) -> str | None:
        if node is None:
            return None
        if not isinstance(node.value, str) or not _IDENTIFIER.fullmatch(node.value):
            self._report(node, f"{what}: {node.value!r} must be the name of a variable")
            return None
        return node.value

    def _items_template(self, node: Node | None) -> Template | None:
        if node is None:
            return None
        template = read_template(node, self._report)
        if isinstance(template, Constant) and not isinstance(template.value, list):
            self._report(node, "'in' is a list or ${...}; iterate a map by ${keys(m)}")
        return template

    def _range(self, node: Node | None) -> Template | None:
        if node is None:
            return None
        template = read_template(node, self._report)
        literal = template.value if isinstance(template, Constant) else None
        if isinstance(node.value, list) and (literal is None or len(literal) != 2):
            self._report(node, "'range' is two numbers, or one expression ${[first, last]}")
        return template

    def parse_parallel(self, node: Node) -> Body:
        inner = node.value["parallel"]
        known = {"shared", "concurrency_limit", "exception_policy", "branches", "for"}
        fields = self._fields(inner, known)
        if ("branches" in fields) == ("for" in fields):
            self._report(inner, "'parallel' needs exactly one of 'branches' and 'for'")
        policy = fields.get("exception_policy")
        if policy is not None and policy.value != "continueAll":
            self._report(policy, "the only exception_policy is continueAll")
        limit = fields.get("concurrency_limit")
        shared = self._items(fields["shared"], "shared") if "shared" in fields else []
        return Parallel(
            shared=tuple(n for item in shared if (n := self._name(item, "shared")) is not None),
            limit=None if limit is None else read_template(limit, self._report),
            branches=self._branches(fields["branches"]) if "branches" in fields else (),
            loop=self._loop(fields["for"]) if "for" in fields else None,
        )

    def _branches(self, node: Node) -> tuple[tuple[str, StepList], ...]:
        items = self._items(node, "branches")
        if not 2 <= len(items) <= BRANCH_LIMIT:
            self._report(node, f"{len(items)} branches; 2 to {BRANCH_LIMIT} allowed")
        steps = [step for item in items if (step := self._named_step(item)) is not None]
        return tuple((step.name, _body_steps(step)) for step in steps)

    def parse_try(self, node: Node) -> Body:
        handler = (
            self._fields(node.value["except"], {"as", "steps"}) if "except" in node.value else {}
        )
        if "except" in node.value and "steps" not in handler:
            self._report(node.value["except"], "'except' needs 'steps'")
        if "except" not in node.value and "retry" not in node.value:
            self._report(node, "'try' needs 'retry' or 'except'")
        return Try(
            steps=self._tried(node.value["try"]),
            retry=self._retry(node.value["retry"]) if "retry" in node.value else None,
            error_name=self._name(handler.get("as"), "as"),
            handler=self._steps(handler["steps"]) if "steps" in handler else None,
        )

    def _tried(self, node: Node) -> StepList:
        if isinstance(node.value, list):
            return self._steps(node)
        if isinstance(node.value, dict) and "for" in node.value:
            self._report(node, "loop step name should not be empty; wrap 'for' in a named step")
        body, _, _ = self._step(node, jumps=False)
        return _body_steps(Step(self._path[-1], body, None, node.mark))

    def _retry(self, node: Node) -> Retry:
        if not isinstance(node.value, dict):
            policy = read_template(node, self._report)
            if isinstance(policy, Constant):
                self._report(node, "retry is a policy such as ${http.default_retry}, or a map")
            return Retry(policy=policy)
        fields = self._fields(node, {"predicate", "max_retries", "backoff"})
        if "predicate" not in fields:
            self._report(node, "'retry' needs a 'predicate', for example ${retry.always}")
        backoff = self._backoff(fields.get("backoff"))
        predicate, most = fields.get("predicate"), fields.get("max_retries")
        return Retry(
            predicate=None if predicate is None else read_template(predicate, self._report),
            max_retries=None if most is None else read_template(most, self._report),
            backoff=backoff,
        )

    def _backoff(self, node: Node | None) -> dict[str, Template]:
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            return {"": read_template(node, self._report)}
        fields = self._fields(node, {"initial_delay", "max_delay", "multiplier"})
        return {name: read_template(item, self._report) for name, item in fields.items()}

    def parse_raise(self, node: Node) -> Body:
        return Raise(read_template(node.value["raise"], self._report))

    def parse_return(self, node: Node) -> Body:
        return ReturnStep(read_template(node.value["return"], self._report))

    # shapes

    def _fields(self, node: Node, known: set[str]) -> dict[str, Node]:
        if not isinstance(node.value, dict):
            self._report(node, f"a map of {', '.join(sorted(known))} was expected")
            return {}
        for key in node.value:
            if key not in known:
                self._report_key(node, key, f"unexpected entry {key!r}")
        return {key: value for key, value in node.value.items() if key in known}

    def _items(self, node: Node, what: str) -> list[Node]:
        if isinstance(node.value, list):
            return node.value
        self._report(node, f"{what!r} must be a list")
        return []


def _body_steps(step: Step) -> StepList:
    """Return the steps of a body that is nested steps, or a list of the step itself.

    Nothing can jump to the step in such a list: it has the name of the one around it.
    """
    if isinstance(step.body, Nested) and step.jump is None:
        return step.body.steps
    return StepList((step,), {})


_KINDS: dict[str, Callable[[_Parser, Node], Body]] = {
    "assign": _Parser.parse_assign,
    "call": _Parser.parse_call,
    "switch": _Parser.parse_switch,
    "for": _Parser.parse_for,
    "parallel": _Parser.parse_parallel,
    "try": _Parser.parse_try,
    "raise": _Parser.parse_raise,
    "return": _Parser.parse_return,
    "steps": _Parser.parse_nested,
}
