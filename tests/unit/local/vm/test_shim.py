"""The shim's rules; what it does is tested through the socket in test_control.py."""

from __future__ import annotations

import ast
import sys

import pytest

from saxflow.local.vm import guard, shim


@pytest.mark.parametrize("module", [shim, guard])
def test_only_the_standard_library_is_imported(module):
    with open(module.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
        if name
    }
    assert names <= set(sys.stdlib_module_names)
