"""The model server's two services, Modelet and LMService, over whatever loads a model.

Source: google/saxml v1.1.0 `server/model_service_base.py`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc

from saxflow.cell.refusals import refusal
from saxflow.errors import InputError, NotFoundError, SaxError, SaxflowError
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.handlers import Behavior

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


class Answering(Protocol):
    """A loaded model: `saxflow.cell.served.Served`."""

    async def generate(self, request: m.GenerateRequest) -> m.GenerateResponse:
        """Answer Generate."""
        ...

    def generate_stream(
        self, request: m.GenerateRequest
    ) -> AsyncGenerator[m.GenerateStreamResponse]:
        """Answer GenerateStream."""
        ...

    async def score(self, request: m.ScoreRequest) -> m.ScoreResponse:
        """Answer Score."""
        ...


class Loader(Protocol):
    """Loads and unloads; called from a thread, one call at a time."""

    @property
    def streams(self) -> bool:
        """Whether the model offers GenerateStream."""
        ...

    def load(self, request: m.LoadRequest) -> Answering:
        """Load a model; an `InputError` or `NotFoundError` is the caller's fault."""
        ...

    def unload(self) -> None:
        """Give up the loaded model."""
        ...


@dataclass
class _Held:
    status: int
    model: Answering | None = None
    reason: str = ""


class Modelet:
    """One model server without its socket; it holds one model."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._held: dict[str, _Held] = {}
        self._turn = asyncio.Lock()

    def behaviors(self) -> dict[methods.Method[Any, Any], Behavior]:
        """Return what `sax.handlers.generic_handlers` serves."""
        answers: dict[methods.Method[Any, Any], Callable[[Any], Awaitable[Any]]] = {
            methods.LOAD: self._load,
            methods.UNLOAD: self._unload,
            methods.UPDATE_LOADED: self._update_loaded,
            methods.GET_STATUS: self._get_status,
            methods.EXPORT: _unsupported("Export is not supported by this model server"),
            methods.SAVE: _unsupported("Save is not supported by this model server"),
            methods.GENERATE: lambda request: self._model(request, "lm.generate").generate(request),
            methods.SCORE: lambda request: self._model(request, "lm.score").score(request),
            methods.EMBED: self._not_offered("lm.embed"),
            methods.GRADIENT: self._not_offered("lm.gradient"),
        }
        served = {method: _answering(answer) for method, answer in answers.items()}
        return {**served, methods.GENERATE_STREAM: self._generate_stream}

    def status(self, *, reasons: bool) -> m.GetStatusResponse:
        """Return what this server holds, with failure reasons when asked for."""
        return m.GetStatusResponse(
            models=[
                m.GetStatusResponse.ModelWithStatus(
                    model_key=key,
                    model_status=held.status,
                    failure_reason=held.reason if reasons else "",
                )
                for key, held in self._held.items()
            ]
        )

    async def _get_status(self, request: m.GetStatusRequest) -> m.GetStatusResponse:
        return self.status(reasons=request.include_failure_reasons)

    async def _load(self, request: m.LoadRequest) -> m.LoadResponse:
        key = request.model_key
        if not key:
            raise refusal("model_key is not specified.", "INVALID_ARGUMENT")
        await _to_its_end(self._load_in_turn(request))
        return m.LoadResponse()

    async def _load_in_turn(self, request: m.LoadRequest) -> None:
        async with self._turn:
            held = self._held.get(request.model_key)
            if held is None or held.status == m.FAILED:
                self._check_vacant(request.model_key)
                await self._load_now(request)

    def _check_vacant(self, key: str) -> None:
        for other, held in self._held.items():
            if other != key and held.status != m.FAILED:
                raise refusal(
                    f"{other} is loaded; this server holds one model, unload it first",
                    "INVALID_ARGUMENT",
                )

    async def _load_now(self, request: m.LoadRequest) -> None:
        key = request.model_key
        held = self._held[key] = _Held(m.LOADING)
        _log.info("loading %s from %s", key, request.checkpoint_path)
        try:
            held.model = await _in_thread(lambda: self._loader.load(request))
        except Exception as error:
            held.status, held.reason = m.FAILED, _reason(error)
            _log.warning("failed to load %s: %s", key, held.reason)
            if isinstance(error, (InputError, NotFoundError)):
                raise refusal(held.reason, "INVALID_ARGUMENT") from error
            raise refusal(f"Loading error: {held.reason}", "INTERNAL") from error
        held.status = m.LOADED
        _log.info("loaded %s", key)

    async def _unload(self, request: m.UnloadRequest) -> m.UnloadResponse:
        key = request.model_key
        if not key:
            raise refusal("model_key is not specified.", "INVALID_ARGUMENT")
        if key not in self._held:
            raise refusal(f"{key} not found, cannot unload.", "INVALID_ARGUMENT")
        if self._held[key].status == m.UNLOADING:
            raise refusal(f"Model already being unloaded. Key: {key}", "INVALID_ARGUMENT")
        await _to_its_end(self._unload_in_turn(key))
        return m.UnloadResponse()

    async def _unload_in_turn(self, key: str) -> None:
        async with self._turn:
            held = self._held[key]
            if held.status == m.LOADED:
                held.status, held.model = m.UNLOADING, None
                await _in_thread(self._loader.unload)
            del self._held[key]
        _log.info("unloaded %s", key)

    async def _update_loaded(self, request: m.UpdateLoadedRequest) -> m.UpdateLoadedResponse:
        if not request.model_key:
            raise refusal("model_key is not specified.", "INVALID_ARGUMENT")
        return m.UpdateLoadedResponse()

    async def _generate_stream(
        self, request: m.GenerateRequest, context: Any
    ) -> AsyncGenerator[m.GenerateStreamResponse]:
        try:
            model = self._model(request, "lm.generate_stream")
            if not self._loader.streams:
                raise _no_method(request.model_key, "lm.generate_stream")
            replies = model.generate_stream(request)
            try:
                async for reply in replies:
                    yield reply
            finally:
                await replies.aclose()
        except SaxflowError as error:
            await _abort(context, error)

    def _model(self, request: Any, method: str) -> Any:
        held = self._held.get(request.model_key)
        if held is None or held.model is None:
            raise refusal(f"{request.model_key} is still loading or already unloaded", "NOT_FOUND")
        return held.model

    def _not_offered(self, method: str) -> Callable[[Any], Awaitable[Any]]:
        async def refuse(request: Any) -> Any:
            self._model(request, method)
            raise _no_method(request.model_key, method)

        return refuse


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work that goes on when its caller goes away, as an admin does that restarts."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(task)


async def _in_thread(work: Callable[[], Result]) -> Result:
    """Run `work` in a thread that does not keep a stopping process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(give: Callable[[Any], None], value: object) -> None:
        if not done.done():
            give(value)

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            loop.call_soon_threadsafe(settle, done.set_exception, error)
        else:
            loop.call_soon_threadsafe(settle, done.set_result, result)

    threading.Thread(target=run, daemon=True).start()
    return await done


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, SaxflowError) else f"{type(error).__name__}: {error}"


def _no_method(key: str, method: str) -> SaxError:
    return refusal(f"{key} does not support {method}", "INVALID_ARGUMENT")


def _unsupported(message: str) -> Callable[[Any], Awaitable[Any]]:
    async def refuse(request: Any) -> Any:
        raise refusal(message, "UNIMPLEMENTED")

    return refuse


def _answering(answer: Callable[[Any], Awaitable[Any]]) -> Behavior:
    async def behavior(request: Any, context: Any) -> Any:
        try:
            return await answer(request)
        except SaxflowError as error:
            await _abort(context, error)

    return behavior


async def _abort(context: Any, error: SaxflowError) -> None:
    code = error.code if isinstance(error, SaxError) else "INTERNAL"
    await context.abort(grpc.StatusCode[code], str(error))
