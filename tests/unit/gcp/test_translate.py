"""Every exception that Google's libraries raise becomes ours, once, with what was attempted."""

from __future__ import annotations

import pytest
import requests
from google.api_core import exceptions as core
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as storage

from saxflow.errors import CloudError, ConfigurationError, InputError
from saxflow.gcp.objects import Objects, Uri
from saxflow.gcp.translate import RETRYABLE_CODES, translated
from saxflow.local.faults import Faults


def raised(error: Exception) -> CloudError:
    with pytest.raises(CloudError) as caught, translated("batch", "create Job j"):
        raise error
    assert str(caught.value).startswith("create Job j: ")
    assert caught.value.service == "batch"
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (core.NotFound("no"), 404, False),
        (core.PermissionDenied("no"), 403, False),
        (core.PreconditionFailed("no"), 412, False),
        (core.Aborted("race"), 409, False),
        (core.ResourceExhausted("quota"), 429, True),
        (core.ServiceUnavailable("later"), 503, True),
        (core.DeadlineExceeded("late"), 504, True),
        (core.InternalServerError("oops"), 500, True),
        (core.GoogleAPICallError("no status"), None, True),
    ],
)
def test_a_service_that_refuses(error: Exception, code: int | None, retryable: bool) -> None:
    found = raised(error)
    assert (found.code, found.retryable) == (code, retryable)
    assert found.exit_code == (6 if retryable else 1)


@pytest.mark.parametrize(
    "error",
    [
        core.RetryError("timeout of 30 s exceeded", cause=None),
        auth.TransportError("no route"),
        requests.ConnectionError("refused"),
        requests.Timeout("silence"),
        ConnectionResetError("reset"),
        requests.exceptions.ChunkedEncodingError("broken in the middle"),
        storage.DataCorruption(None, "checksum mismatch"),
    ],
)
def test_a_service_that_cannot_be_reached_or_understood(error: Exception) -> None:
    found = raised(error)
    assert (found.code, found.retryable) == (None, True)


@pytest.mark.parametrize(
    "error", [auth.DefaultCredentialsError("none"), auth.RefreshError("token expired")]
)
def test_missing_or_expired_credentials_name_the_remedy(error: Exception) -> None:
    with (
        pytest.raises(ConfigurationError, match="gcloud auth application-default login"),
        translated("tpu", "get node"),
    ):
        raise error


def test_what_is_ours_or_nobodys_passes() -> None:
    for error in (InputError("mine"), KeyError("bug")):
        with pytest.raises(type(error)) as caught, translated("tpu", "get node"):
            raise error
        assert caught.value is error


def test_retryable_codes_are_those_of_the_workflow_language() -> None:
    assert {408, 429, 500, 502, 503, 504} == RETRYABLE_CODES


def test_a_damaged_download_is_worth_repeating(objects: Objects, faults: Faults) -> None:
    place = Uri("bkt", "o")
    generation = objects.write(place, b"abcdefgh" * 9000, if_generation="0")
    faults.arm("storage", "objects.get", "return-corrupted-data", count=None)
    with pytest.raises(CloudError, match="read gs://bkt/o") as caught:
        objects.read(place, generation=generation)
    assert caught.value.retryable
    faults.clear()
    assert objects.read(place).generation == generation


def test_the_request_line_of_the_client_is_left_out() -> None:
    url = "https://storage.googleapis.com/storage/v1/b/x/o?prettyPrint=false"
    found = raised(core.NotFound(f"GET {url}: The specified bucket does not exist."))
    assert str(found) == "create Job j: The specified bucket does not exist"
    assert str(raised(core.NotFound("Job j: gone"))) == "create Job j: Job j: gone"
