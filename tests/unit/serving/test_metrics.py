"""Figures."""

from __future__ import annotations

from saxflow.serving.admission import Admission
from saxflow.serving.metrics import Metrics
from saxflow.serving.replies import Usage


def test_what_prometheus_reads() -> None:
    admission = Admission(1, 1)
    metrics = Metrics(admission)
    metrics.answered("/generate", 200, 0.2)
    metrics.first_text(0.1)
    metrics.used(Usage(3, 4))
    metrics.used(None)
    admission.waiting = 2
    text = metrics.text().decode()
    assert 'saxflow_http_requests_total{route="/generate",status="200"} 1.0' in text
    assert 'saxflow_http_request_duration_seconds_bucket{le="0.25",route="/generate"} 1.0' in text
    assert "saxflow_time_to_first_text_seconds_count 1.0" in text
    assert 'saxflow_tokens_total{kind="prompt"} 3.0' in text
    assert 'saxflow_tokens_total{kind="completion"} 4.0' in text
    assert "saxflow_requests_waiting 2.0" in text


def test_two_servers_do_not_share_figures() -> None:
    one, two = Metrics(Admission(1, 1)), Metrics(Admission(1, 1))
    one.used(Usage(1, 1))
    assert 'saxflow_tokens_total{kind="prompt"} 1.0' not in two.text().decode()
