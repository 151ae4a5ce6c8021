"""Add saxflow's params module to a SAX model server's code, and prove that it registers.

SAX has no hook for foreign classes: its registry is what one file imports. So the module is put
beside SAX's own and one import line into that file. When SAX changes so that this no longer
works, the build of the image must fail, not the serving.

    register.py install MODULE   copy the module beside lm_cloud.py and patch all_imports.py
    register.py patch FILE       only patch a copy of all_imports.py
    register.py check            import SAX's chain as the server does; is the class listed?

Runs inside SAX's image under Python 3.10, with nothing but the standard library.

Source: google/saxml v1.1.0 saxml/server/pax/lm/all_imports.py, tools/docker/Dockerfile.model.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import shutil
import sys
from pathlib import Path

PACKAGE = "saxml.server.pax.lm.params"
MODULE = "saxflow"
IMPORT_LINE = f"from {PACKAGE} import {MODULE}"
ANCHOR = "saxml/server/pax/lm/params/lm_cloud.py"
"""The file that holds BaseLLaMA: where it is, SAX's code is."""

DEFAULT_SEARCH = "/usr/bin"


class RegistrationError(Exception):
    """The params module cannot be registered; the text says what was expected and is not so."""


def locate(search: Path) -> Path:
    """Return the folder that holds SAX's `saxml` package, below `search`.

    Raises:
        RegistrationError: there is none, or more than one.
    """
    found = sorted(search.rglob(ANCHOR))
    if len(found) != 1:
        raise RegistrationError(
            f"{len(found)} files {ANCHOR} below {search}; exactly one is needed:"
            " is this a SAX model server image?"
        )
    return found[0].parents[ANCHOR.count("/")]


def with_import(source: str) -> str:
    """Return the text of all_imports.py with our line behind the last params import.

    Text that has the line already is returned as it is.

    Raises:
        RegistrationError: the text imports no params module, so the line has no place.
    """
    if _params_imports(source, only=MODULE):
        return source
    places = _params_imports(source)
    if not places:
        raise RegistrationError(
            f"no line `from {PACKAGE} import ...` in all_imports.py;"
            " this SAX fills its registry in another way"
        )
    lines = source.splitlines(keepends=True)
    lines.insert(places[-1], IMPORT_LINE + "\n")
    return "".join(lines)


def _params_imports(source: str, only: str | None = None) -> list[int]:
    """Return the last line number of each top-level `from <PACKAGE> import ...`."""
    return [
        node.end_lineno or node.lineno
        for node in ast.parse(source).body
        if isinstance(node, ast.ImportFrom)
        and node.module == PACKAGE
        and (only is None or any(alias.name == only for alias in node.names))
    ]


def patch(path: Path) -> None:
    """Place the import line in a file and read it back.

    Raises:
        RegistrationError: see `with_import`; or the file did not keep the line.
    """
    try:
        path.write_text(with_import(path.read_text(encoding="utf-8")), encoding="utf-8")
        kept = _params_imports(path.read_text(encoding="utf-8"), only=MODULE)
    except (OSError, SyntaxError) as error:
        raise RegistrationError(f"{path}: {error}") from error
    if len(kept) != 1:
        raise RegistrationError(f"{path} imports {MODULE} {len(kept)} times; once is needed")


def install(root: Path, module: Path) -> None:
    """Copy the module into SAX's params package and name it in all_imports.py."""
    params = root.joinpath(*PACKAGE.split("."))
    patch(params.parent / "all_imports.py")
    shutil.copyfile(module, params / f"{MODULE}.py")


def search_path(root: Path) -> list[str]:
    """Return where the server finds its modules: Bazel's runfiles beside `root`, then `root`."""
    return [*map(str, sorted(root.parent.glob("*/site-packages"))), str(root)]


def registered(root: Path) -> str:
    """Import what the server imports and return the key our class is listed under.

    Raises:
        RegistrationError: it is not listed, or would serve random weights.
    """
    sys.path[:0] = search_path(root)
    importlib.import_module("saxml.server.all_imports")
    registry = importlib.import_module("saxml.server.servable_model_registry")
    ours = [key for key in registry.get_all() if key.startswith(f"{PACKAGE}.{MODULE}.")]
    if len(ours) != 1:
        raise RegistrationError(
            f"the registry lists {len(ours)} classes of {PACKAGE}.{MODULE}; one is needed"
        )
    if registry.get(ours[0])().test_mode:
        raise RegistrationError(f"{ours[0]} is in test mode: it would serve random weights")
    return ours[0]


def main() -> None:
    """Run one verb; failures end with status 1 and one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", type=Path, default=Path(DEFAULT_SEARCH))
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("install").add_argument("file", type=Path)
    verbs.add_parser("patch").add_argument("file", type=Path)
    verbs.add_parser("check")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "install":
            install(locate(arguments.search), arguments.file)
        elif arguments.verb == "patch":
            patch(arguments.file)
        else:
            sys.stdout.write(registered(locate(arguments.search)) + "\n")
    except RegistrationError as error:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {error}")


if __name__ == "__main__":
    main()
