"""Functions of the standard library that act on the world: `sys.*`, `http.*`, `events.*`.

All but `sys.now` and `sys.get_env` block, and so may only stand in a `call` step.

Source: https://cloud.google.com/workflows/docs/reference/stdlib/overview
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from saxflow.local.workflows.connectors import CONNECTORS, Arguments, run_connector
from saxflow.local.workflows.failures import Value, failure, key_error, type_error, value_error
from saxflow.local.workflows.http import HTTP_METHODS, read_request
from saxflow.local.workflows.runtime import Runtime
from saxflow.local.workflows.stdlib.signature import Signature, expect, expect_number

SLEEP_LIMIT_SECONDS = 31_536_000
CALLBACK_SECONDS = 43_200

_HTTP_SIGNATURE = Signature.of(
    "url headers? body? query? auth? timeout? private_service_name? ca_certificate?"
)
_SEVERITIES = frozenset(
    {"DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"}
)
_CALLBACK_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


@dataclass(frozen=True)
class WorldFunction:
    """A function that needs the runtime.

    Args:
        blocking: may not stand in an expression.
    """

    signature: Signature
    apply: Callable[[Runtime, Arguments], Value]
    blocking: bool = True


def _now(runtime: Runtime, _: Arguments) -> Value:
    return float(runtime.clock.time())


def _get_env(runtime: Runtime, arguments: Arguments) -> Value:
    name = expect(arguments["name"], str, "name")
    if name in runtime.environment:
        return runtime.environment[name]
    if "default" in arguments:
        return arguments["default"]
    raise key_error(f"environment variable not found: {name}")


def _sleep(runtime: Runtime, arguments: Arguments) -> Value:
    runtime.sleep(_seconds(arguments["seconds"], "seconds"))
    return None


def _sleep_until(runtime: Runtime, arguments: Arguments) -> Value:
    moment = expect_number(arguments["time"], "time")
    runtime.sleep(_seconds(max(moment - runtime.clock.time(), 0.0), "time from now"))
    return None


def _seconds(value: Value, what: str) -> float:
    number = expect_number(value, what)
    if not 0 <= number <= SLEEP_LIMIT_SECONDS:
        raise value_error(f"{what} is {number} s; 0 to {SLEEP_LIMIT_SECONDS} allowed")
    return number


def _log(runtime: Runtime, arguments: Arguments) -> Value:
    given = [name for name in ("data", "text", "json") if name in arguments]
    if len(given) != 1:
        raise type_error("sys.log needs exactly one of data, text and json")
    severity = expect(arguments.get("severity", "DEFAULT"), str, "severity").upper()
    if severity not in _SEVERITIES:
        raise value_error(f"severity {severity!r} is unknown; use {', '.join(sorted(_SEVERITIES))}")
    runtime.log(severity, arguments[given[0]])
    return None


def _create_callback(runtime: Runtime, arguments: Arguments) -> Value:
    method = expect(arguments.get("http_callback_method", "POST"), str, "http_callback_method")
    if method not in _CALLBACK_METHODS:
        raise value_error(f"callback method {method!r}; use {', '.join(sorted(_CALLBACK_METHODS))}")
    if runtime.callbacks is None:
        raise failure("SystemError", "no service here can receive callbacks")
    return {"url": runtime.callbacks.create(method)}


def _await_callback(runtime: Runtime, arguments: Arguments) -> Value:
    url = expect(expect(arguments["callback"], dict, "callback").get("url"), str, "callback.url")
    timeout = _seconds(arguments.get("timeout", CALLBACK_SECONDS), "timeout")
    if runtime.callbacks is None:
        raise failure("SystemError", "no service here can receive callbacks")
    received = runtime.callbacks.wait(url, timeout, runtime.cancellation)
    if received is None:
        raise failure("TimeoutError", f"no callback within {timeout} s")
    return received


def _http(method: str | None) -> WorldFunction:
    signature = _HTTP_SIGNATURE
    if method is None:
        signature = Signature(("method", *signature.required), signature.optional)

    def apply(runtime: Runtime, arguments: Arguments) -> Value:
        request = read_request(method or arguments["method"], arguments)
        return runtime.http.send(request, runtime.cancellation)

    return WorldFunction(signature, apply)


WORLD: dict[str, WorldFunction] = {
    "sys.now": WorldFunction(Signature(), _now, blocking=False),
    "sys.get_env": WorldFunction(Signature.of("name default?"), _get_env, blocking=False),
    "sys.sleep": WorldFunction(Signature.of("seconds"), _sleep),
    "sys.sleep_until": WorldFunction(Signature.of("time"), _sleep_until),
    "sys.log": WorldFunction(Signature.of("data? severity? text? json? timeout?"), _log),
    "events.create_callback_endpoint": WorldFunction(
        Signature.of("http_callback_method?"), _create_callback
    ),
    "events.await_callback": WorldFunction(Signature.of("callback timeout?"), _await_callback),
    "http.request": _http(None),
    **{f"http.{name.lower()}": _http(name) for name in HTTP_METHODS},
    **{
        name: WorldFunction(connector.signature, run_connector(connector))
        for name, connector in CONNECTORS.items()
    },
}
