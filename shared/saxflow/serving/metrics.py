"""What Prometheus may know: requests, durations, tokens, the queue."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from saxflow.serving.admission import Admission
from saxflow.serving.replies import Usage

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """The figures of one server, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, admission: Admission) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "saxflow_http_requests",
            "HTTP requests by route and status; 499 means the client left.",
            ("route", "status"),
            registry=self._registry,
        )
        self._duration = Histogram(
            "saxflow_http_request_duration_seconds",
            "From the request's head to the last byte of the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._first_text = Histogram(
            "saxflow_time_to_first_text_seconds",
            "From a place at work to the first piece of text.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tokens = Counter(
            "saxflow_tokens",
            "Tokens of prompts and completions, as reported in usage.",
            ("kind",),
            registry=self._registry,
        )
        self._gauge("saxflow_requests_active", "Requests at work.", lambda: admission.active)
        self._gauge(
            "saxflow_requests_waiting", "Requests waiting for a place.", lambda: admission.waiting
        )

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(name, text, registry=self._registry).set_function(read)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        self._requests.labels(route, str(status)).inc()
        self._duration.labels(route).observe(seconds)

    def first_text(self, seconds: float) -> None:
        """Record how long a client waited for the first text."""
        self._first_text.observe(seconds)

    def used(self, usage: Usage | None) -> None:
        """Count tokens."""
        if usage is not None:
            self._tokens.labels("prompt").inc(usage.prompt_tokens)
            self._tokens.labels("completion").inc(usage.completion_tokens)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
