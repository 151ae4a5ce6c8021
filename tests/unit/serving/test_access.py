"""Who may ask."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saxflow.errors import ConfigurationError, RequestError
from saxflow.serving.access import admit, check_exposure, is_loopback, socket_address
from saxflow.settings import ServingSettings, load_serving_settings

LAPTOP = load_serving_settings({})
CLOUD_RUN = load_serving_settings({"K_SERVICE": "generate"})
KEYED = load_serving_settings({"SAXFLOW_API_KEYS": "one, two", "SAXFLOW_GENERATE_HOST": "0.0.0.0"})


def knock(
    settings: ServingSettings,
    authorization: str = "",
    at: str | None = "127.0.0.1",
    path: str = "/x",
    host: str = "localhost:8080",
) -> int:
    try:
        admit(settings, path=path, authorization=authorization, host=host, reached_at=at)
    except RequestError as error:
        return error.status
    return 200


def test_where_it_listens() -> None:
    assert LAPTOP.host == "127.0.0.1"
    assert CLOUD_RUN.host == "0.0.0.0"
    for guarded in (LAPTOP, CLOUD_RUN, KEYED):
        check_exposure(guarded)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_it_does_not_start_where_anybody_could_ask(host: str) -> None:
    with pytest.raises(ConfigurationError, match="SAXFLOW_API_KEYS"):
        check_exposure(replace(LAPTOP, host=host))


def test_without_keys() -> None:
    assert knock(LAPTOP) == 200
    assert knock(LAPTOP, at=None) == 200
    assert knock(LAPTOP, at="10.0.0.1") == 403
    assert knock(CLOUD_RUN, at="10.0.0.1") == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("[::1]:8080", 200),
        ("rebound.example:8080", 403),
        ("", 403),
    ],
)
def test_a_name_that_was_made_to_lead_here_opens_nothing(host: str, status: int) -> None:
    assert knock(LAPTOP, host=host) == status
    assert knock(KEYED, "Bearer one", host=host) == 200
    assert knock(CLOUD_RUN, host=host) == 200
    embedded = replace(CLOUD_RUN, host="127.0.0.1")  # no IAM stands before it
    assert knock(embedded, host=host) == status


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer one", 200),
        ("bearer two", 200),
        ("Bearer  two ", 200),
        ("", 401),
        ("Bearer", 401),
        ("Bearer three", 401),
        ("Bearer one, two", 401),
        ("Bearer é", 401),
        ("Basic one", 401),
    ],
)
def test_with_keys(authorization: str, status: int) -> None:
    for at in ("127.0.0.1", "10.0.0.1", None):
        assert knock(KEYED, authorization, at) == status
    on_cloud_run = replace(KEYED, on_cloud_run=True)
    assert knock(on_cloud_run, authorization, "10.0.0.1") == status


def test_probes_need_no_key() -> None:
    assert knock(KEYED, path="/healthz") == 200
    assert knock(KEYED, path="/readyz") == 200
    assert knock(KEYED, path="/metrics") == 401


def test_addresses() -> None:
    assert is_loopback("localhost")
    assert is_loopback("127.0.10.3")
    assert is_loopback("::1")
    assert not is_loopback("generate.example")
    assert socket_address(("10.0.0.1", 80)) == "10.0.0.1"
    assert socket_address(("testserver", 80)) is None
    assert socket_address(None) is None
