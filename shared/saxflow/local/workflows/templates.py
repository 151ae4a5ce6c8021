"""Turn values of the source into templates, and left sides of assignments into targets."""

from __future__ import annotations

from collections.abc import Callable

from saxflow.local.workflows.document import Node
from saxflow.local.workflows.expressions import (
    Expression,
    Index,
    Literal,
    Name,
    Property,
    parse_expression,
)
from saxflow.local.workflows.lexer import ExpressionError
from saxflow.local.workflows.steps import (
    Computed,
    Constant,
    ListTemplate,
    MapTemplate,
    Target,
    Template,
)

Report = Callable[[Node, str], None]


def read_template(node: Node, report: Report) -> Template:
    """Return the template of a value; what is wrong with it goes to `report`."""
    if isinstance(node.value, dict):
        return _map(node, report)
    if isinstance(node.value, list):
        items = tuple(read_template(item, report) for item in node.value)
        if all(isinstance(item, Constant) for item in items):
            return Constant([item.value for item in items if isinstance(item, Constant)])
        return ListTemplate(items)
    return _scalar(node, report)


def _map(node: Node, report: Report) -> Template:
    entries = [
        (_scalar(Node(name, node.keys[name]), report), read_template(item, report))
        for name, item in node.value.items()
    ]
    constants = {
        key.value: item.value
        for key, item in entries
        if isinstance(key, Constant) and isinstance(item, Constant)
    }
    return Constant(constants) if len(constants) == len(entries) else MapTemplate(tuple(entries))


def _scalar(node: Node, report: Report) -> Template:
    if not isinstance(node.value, str) or "${" not in node.value:
        return Constant(node.value)
    text = node.value.strip()
    if not (text.startswith("${") and text.endswith("}")):
        report(
            node,
            f"{text[:60]!r} mixes text and an expression; the whole value must be one ${{...}},"
            ' joined inside: ${"text" + name}',
        )
        return Constant(None)
    try:
        return Computed(parse_expression(text[2:-1]), node.mark)
    except ExpressionError as error:
        report(node, str(error))
        return Constant(None)


def read_target(text: str) -> Target:
    """Return the target of an assignment such as `a`, `a.b` or `a[i + 1]["c"]`.

    Raises:
        ExpressionError: it is no variable or path into one.
    """
    path: list[Expression] = []
    tree = parse_expression(text)
    while not isinstance(tree, Name):
        if isinstance(tree, Property):
            path.append(Literal(tree.name))
        elif isinstance(tree, Index):
            path.append(tree.index)
        else:
            raise ExpressionError(
                f"{text!r} cannot be assigned to; name a variable or a path in it"
            )
        tree = tree.target
    return Target(tree.name, tuple(reversed(path)))
