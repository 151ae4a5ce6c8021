"""Say which optional dependencies a command needs when they are not installed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from saxflow.errors import ConfigurationError


@contextmanager
def extra(name: str) -> Generator[None]:
    """Turn a missing module inside the block into advice to install an extra.

    Raises:
        ConfigurationError: a module outside saxflow is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("saxflow"):
            raise
        missing = f"{error.name} is not installed" if error.name else str(error)
        raise ConfigurationError(
            f"{missing}; this command needs `pip install 'saxflow[{name}]'`"
        ) from error
