"""Load the model that servable.json describes; JAX is imported on first use, not before.

The server joins its cell in the time that importing JAX would take, and compiles while it waits for
its first Load.
"""

from __future__ import annotations

import gc
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saxflow.errors import InputError
from saxflow.sax import messages as m
from saxflow.sax.servable import Servable

if TYPE_CHECKING:
    from saxflow.cell.engine import Engine
    from saxflow.cell.leading import Group, Leading
    from saxflow.cell.programs import Programs
    from saxflow.cell.served import Served

_log = logging.getLogger(__name__)


def _longest(value: Any) -> Any:
    return max(value) if isinstance(value, list) and value else value


_OVERRIDES: dict[str, tuple[str, type, Callable[[Any], Any]]] = {
    "BATCH_SIZE": ("batch", int, _longest),
    "INPUT_SEQ_LEN": ("input_len", int, _longest),
    "MAX_DECODE_STEPS": ("max_new_tokens", int, _longest),
    "ENABLE_GENERATE_STREAM": ("stream", bool, lambda value: value),
    "SPM_MODEL": ("tokenizer", str, lambda value: value),
}
"""Attribute of SAX's params class -> our field, its type, and how a list is read."""


def overridden(servable: Servable, overrides: dict[str, str]) -> Servable:
    """Return the servable with a publication's overrides.

    Args:
        overrides: attribute of the params class -> JSON text.

    Raises:
        InputError: an attribute is unknown, or its value is not JSON or of another type.
    """
    changes: dict[str, Any] = {}
    for attribute, text in overrides.items():
        if attribute not in _OVERRIDES:
            raise InputError(
                f"override {attribute} is unknown; {', '.join(_OVERRIDES)} can be overridden"
            )
        field, kind, read = _OVERRIDES[attribute]
        try:
            value = read(json.loads(text))
        except ValueError:
            raise InputError(f"override {attribute} is {text!r}, which is not JSON") from None
        if type(value) is not kind:
            raise InputError(f"override {attribute} is {text}; it must be a {kind.__name__}")
        changes[field] = value
    return Servable.from_dict(replace(servable, **changes).as_dict()) if changes else servable


class ModelLoader:
    """Holds at most one model; `warm` may run ahead in a thread."""

    def __init__(
        self, servable: Servable, *, cache_dir: str | None = None, group: Group | None = None
    ) -> None:
        """Take what to serve.

        Args:
            cache_dir: where compiled programs are kept over restarts.
            group: the other workers, which must do what this one does.
        """
        self._servable = servable
        self._group = group
        self._cache_dir = cache_dir
        self._warmed: Programs | Leading | None = None
        self._warming = threading.Lock()
        self._engine: Engine | None = None
        self._loaded: Programs | Leading | None = None
        self._active = servable

    @property
    def streams(self) -> bool:
        """Whether the loaded model offers GenerateStream."""
        return self._active.stream

    def warm(self) -> None:
        """Import JAX and compile the first programs, unless that is done."""
        with self._warming:
            if self._warmed is None:
                if self._group is not None:
                    self._group.form()
                self._warmed = self._programs(self._servable)
                self._warmed.warm()

    def load(self, request: m.LoadRequest) -> Served:
        """Load a checkpoint.

        Raises:
            InputError: model path, override, tokenizer or checkpoint cannot be used.
            NotFoundError: the tokenizer does not exist.
            CloudError: storage could not be reached.
        """
        servable = self._servable
        if request.model_path != servable.model_path:
            raise InputError(f"Could not find servable model `{request.model_path}`.")
        servable = overridden(servable, dict(request.overrides))
        self.warm()
        from saxflow.cell.engine import Engine
        from saxflow.cell.served import Served
        from saxflow.sax.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(servable.tokenizer, servable.vocab)
        programs = self._take(servable)
        programs.load(request.checkpoint_path)
        self._active, self._loaded = servable, programs
        self._engine = Engine(programs, servable.batch)
        return Served(servable, tokenizer, self._engine)

    def unload(self) -> None:
        """End the loaded model's requests and free its memory."""
        if self._engine is not None and self._loaded is not None:
            self._engine.close()
            self._loaded.release()
        self._engine = self._loaded = None
        gc.collect()

    def _take(self, servable: Servable) -> Programs | Leading:
        if self._warmed is not None and self._warmed.servable == servable:
            return self._warmed
        programs = self._programs(servable)
        programs.warm()
        return programs

    def _programs(self, servable: Servable) -> Programs | Leading:
        if self._cache_dir:
            import jax

            jax.config.update("jax_compilation_cache_dir", self._cache_dir)
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        from saxflow.cell.leading import Leading
        from saxflow.cell.programs import Programs, serving_mesh

        programs = Programs(servable, serving_mesh(servable))
        return programs if self._group is None else Leading(programs, self._group)
