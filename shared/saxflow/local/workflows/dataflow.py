"""Which variables a routine reads and writes, where, and so which reads can find no value.

Best effort: positions are in the order of the source; a jump back makes what follows it come before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from saxflow.local.workflows.document import Mark
from saxflow.local.workflows.expressions import Expression, Name, walk
from saxflow.local.workflows.steps import (
    Assign,
    Body,
    CallStep,
    Computed,
    Constant,
    For,
    ListTemplate,
    MapTemplate,
    Nested,
    Parallel,
    Raise,
    Retry,
    ReturnStep,
    Routine,
    StepList,
    Switch,
    Template,
    Try,
)

Block = tuple[int, ...]
"""A scope as the numbers of the blocks around it; a prefix of it is an outer scope."""


@dataclass(frozen=True)
class Use:
    """One read or write of a variable.

    Args:
        declares: a write that hides a variable of the same name further out, as a loop's does.
    """

    name: str
    block: Block
    position: int
    step: str
    mark: Mark
    declares: bool = False


@dataclass
class Dataflow:
    """All uses in a routine.

    Args:
        branches: of each parallel branch: its block and the names it shares.
    """

    reads: list[Use] = field(default_factory=list[Use])
    writes: list[Use] = field(default_factory=list[Use])
    jumps: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    targets: dict[str, int] = field(default_factory=dict[str, int])
    branches: list[tuple[Block, tuple[str, ...]]] = field(
        default_factory=list[tuple[Block, tuple[str, ...]]]
    )

    def unassigned(self) -> Iterator[Use]:
        """Yield the reads of names that are assigned, but only later."""
        for read in self.reads:
            seen = [w for w in self.writes if w.name == read.name and _encloses(w, read)]
            if seen and not any(w.position < read.position or self._loops(w, read) for w in seen):
                yield read

    def undefined(self) -> Iterator[Use]:
        """Yield the reads of names that nothing around them ever assigns."""
        for read in self.reads:
            if not any(w.name == read.name and _encloses(w, read) for w in self.writes):
                yield read

    def unshared(self) -> Iterator[Use]:
        """Yield writes in a parallel branch to a variable outside it that is not shared."""
        for write in self.writes:
            for block, shared in self.branches:
                inside = write.block[: len(block)] == block
                if inside and write.name not in shared and self._outside(write, block):
                    yield write
                    break

    def _outside(self, write: Use, block: Block) -> bool:
        """Tell whether a write goes to a variable that is older than the block around it."""
        hidden = any(
            other.name == write.name
            and other.declares
            and len(other.block) >= len(block)
            and write.block[: len(other.block)] == other.block
            for other in self.writes
        )
        return not hidden and any(
            other.name == write.name
            and other.position < write.position
            and len(other.block) < len(block)
            and block[: len(other.block)] == other.block
            for other in self.writes
        )

    def _loops(self, write: Use, read: Use) -> bool:
        return any(
            source >= write.position
            and self.targets.get(target, read.position + 1) <= read.position
            for source, target in self.jumps
        )


def _encloses(write: Use, read: Use) -> bool:
    return read.block[: len(write.block)] == write.block


def analyse(routine: Routine) -> Dataflow:
    """Return the uses of variables in a routine."""
    walker = _Walker()
    for parameter in routine.parameters:
        walker.declare(parameter.name, routine.mark)
    walker.steps(routine.steps)
    return walker.flow


class _Walker:
    def __init__(self) -> None:
        self.flow = Dataflow()
        self._block: Block = ()
        self._blocks = 0
        self._position = 0
        self._step = ""

    def declare(self, name: str, mark: Mark) -> None:
        self._write(name, mark, declares=True)

    def _write(self, name: str, mark: Mark, *, declares: bool = False) -> None:
        self._position += 1
        use = Use(name, self._block, self._position, self._step, mark, declares)
        self.flow.writes.append(use)

    def steps(self, steps: StepList) -> None:
        for step in steps.steps:
            self._position += 1
            self._step = step.name
            self.flow.targets[step.name] = self._position
            self._body(step.body, step.mark)
            if step.jump is not None:
                self._jump(step.jump)

    def _jump(self, target: str) -> None:
        self._position += 1
        self.flow.jumps.append((self._position, target))

    def _read(self, tree: Expression, mark: Mark) -> None:
        self._position += 1
        for part in walk(tree):
            if isinstance(part, Name):
                use = Use(part.name, self._block, self._position, self._step, mark)
                self.flow.reads.append(use)

    def _template(self, template: Template | None) -> None:
        for computed in expressions_of(template):
            self._read(computed.tree, computed.mark)

    def _enter(self) -> Block:
        outer = self._block
        self._blocks += 1
        self._block = (*outer, self._blocks)
        return outer

    def _body(self, body: Body, mark: Mark) -> None:
        match body:
            case Assign(entries):
                for target, template in entries:
                    self._template(template)
                    self._store(target.variable, target.path, mark)
            case CallStep(_, arguments, result):
                for template in arguments.values():
                    self._template(template)
                if result is not None:
                    self._store(result.variable, result.path, mark)
            case Switch(branches):
                for branch in branches:
                    self._template(branch.condition)
                    self._body(branch.body, mark)
                    if branch.jump is not None:
                        self._jump(branch.jump)
            case For():
                self._loop(body, mark)
            case Parallel():
                self._parallel(body, mark)
            case Try():
                self._try(body, mark)
            case Raise(value) | ReturnStep(value):
                self._template(value)
            case Nested(steps):
                self.steps(steps)

    def _store(self, name: str, path: tuple[Expression, ...], mark: Mark) -> None:
        for part in path:
            self._read(part, mark)
        if path:
            self._read(Name(name), mark)
        else:
            self._write(name, mark)

    def _loop(self, body: For, mark: Mark) -> None:
        self._template(body.items)
        self._template(body.bounds)
        outer = self._enter()
        for name in (body.value, body.index):
            if name:
                self.declare(name, mark)
        self.steps(body.steps)
        self._block = outer

    def _parallel(self, body: Parallel, mark: Mark) -> None:
        self._template(body.limit)
        for name in body.shared:
            self._read(Name(name), mark)
        for _, steps in body.branches:
            outer = self._enter()
            self.flow.branches.append((self._block, body.shared))
            self.steps(steps)
            self._block = outer
        if body.loop is not None:
            outer = self._enter()
            self.flow.branches.append((self._block, body.shared))
            self._loop(body.loop, mark)
            self._block = outer

    def _try(self, body: Try, mark: Mark) -> None:
        self.steps(body.steps)
        for template in retry_templates(body.retry):
            self._template(template)
        if body.handler is None:
            return
        outer = self._enter()
        if body.error_name:
            self.declare(body.error_name, mark)
        self.steps(body.handler)
        self._block = outer


def retry_templates(retry: Retry | None) -> list[Template]:
    """Return the templates of a retry policy."""
    if retry is None:
        return []
    parts = (retry.policy, retry.predicate, retry.max_retries, *retry.backoff.values())
    return [part for part in parts if part is not None]


def expressions_of(template: Template | None) -> Iterator[Computed]:
    """Yield every expression of a template."""
    if isinstance(template, Computed):
        yield template
    elif isinstance(template, ListTemplate):
        for item in template.items:
            yield from expressions_of(item)
    elif isinstance(template, MapTemplate):
        for key, item in template.entries:
            yield from expressions_of(key)
            yield from expressions_of(item)
    else:
        assert template is None or isinstance(template, Constant)
