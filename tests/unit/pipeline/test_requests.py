import pytest

from saxflow.errors import (
    BusyError,
    CloudError,
    InputError,
    IntegrityError,
    NotFoundError,
    SaxflowError,
)
from saxflow.pipeline.requests import answer, guarded


def raising(error: SaxflowError):
    def act() -> dict[str, object]:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("a"), 400),
        (NotFoundError("a"), 404),
        (BusyError("a"), 503),
        (CloudError("a", service="tpu", code=503, retryable=True), 503),
        (CloudError("a", service="tpu", code=403), 502),
        (IntegrityError("a"), 500),
    ],
)
def test_errors_answer_with_a_status_and_their_words(error: SaxflowError, status: int) -> None:
    body, found = guarded(raising(error))
    assert found == status
    assert body["error"]["message"] == "a"
    assert body["error"]["code"] == status


@pytest.mark.parametrize(
    "body", [None, [], {}, {"plan": "gs://b/o"}, {"plan": 5, "object_generation": "1"}]
)
def test_a_request_without_a_plan_is_refused(body: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for bucket in ("MANIFESTS", "CONTROL", "MODELS", "CELLS"):
        monkeypatch.setenv(f"SAXFLOW_{bucket}_BUCKET", "b")
    monkeypatch.setenv("SAXFLOW_PROJECT", "p")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    reply, status = answer(body, lambda *_: {})
    assert status == 400
    assert reply["error"]["status"] == "INVALID_ARGUMENT"
