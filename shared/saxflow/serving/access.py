"""Who may ask: Cloud Run's IAM, bearer keys, or nobody but this machine. Never open by accident.

| where                          | without keys            | with `SAXFLOW_API_KEYS` |
|--------------------------------|-------------------------|-------------------------|
| Cloud Run (`K_SERVICE` is set) | IAM decides before us   | IAM, then a key         |
| loopback                       | open                    | a key                   |
| any other address              | does not start, answers 403 | a key               |

The embedded cloud sets `K_SERVICE` too; it listens on loopback, where no IAM stands before us.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from saxflow.errors import ConfigurationError, RequestError
from saxflow.settings import ServingSettings

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Probes carry no key; they tell nothing but yes or no."""


def check_exposure(settings: ServingSettings) -> None:
    """Refuse to listen where anybody could ask.

    Raises:
        ConfigurationError: the address is not loopback, and neither IAM nor keys guard it.
    """
    if settings.on_cloud_run or settings.api_keys or is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"listening on {settings.host} would let anybody ask the model; set SAXFLOW_API_KEYS,"
        " or listen on 127.0.0.1"
    )


def admit(
    settings: ServingSettings, *, path: str, authorization: str, host: str, reached_at: str | None
) -> None:
    """Let a request pass.

    Args:
        authorization: the header, empty when there is none.
        host: the header; a page in a browser may have made its own name lead to this machine.
        reached_at: the address of ours that the client reached, None when it is no socket's.

    Raises:
        RequestError: status 401, no valid key; 403, this address is not guarded.
    """
    if path in OPEN_PATHS:
        return
    if settings.api_keys:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() == "bearer" and _known(key.strip(), settings.api_keys):
            return
        raise RequestError(
            "no valid API key; send `Authorization: Bearer KEY`", code="invalid_api_key", status=401
        )
    if reached_at is None or (settings.on_cloud_run and not is_loopback(settings.host)):
        return
    if is_loopback(reached_at) and is_loopback(_host_name(host)):
        return
    raise RequestError(
        f"this server has no API keys and was reached at {reached_at} as {host!r}, which is not"
        " loopback; set SAXFLOW_API_KEYS",
        code="not_guarded",
        status=403,
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def socket_address(server: tuple[str, int | None] | None) -> str | None:
    """Return the IP address in ASGI's `server`, None where it names no socket's address."""
    if server is None:
        return None
    try:
        return str(ip_address(server[0]))
    except ValueError:
        return None


def _host_name(header: str) -> str:
    """Return the host in a Host header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _known(key: str, keys: tuple[str, ...]) -> bool:
    found = False
    for known in keys:
        found |= hmac.compare_digest(key.encode(), known.encode())
    return found
