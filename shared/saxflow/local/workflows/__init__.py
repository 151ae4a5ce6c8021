"""The Cloud Workflows language: parser, interpreter, lint, and the services that run it.

`run_workflow` runs a source in this process; the services in `definitions` and `executions` do the
same behind Google's APIs.
"""

from __future__ import annotations

from collections.abc import Mapping

from saxflow.local.clock import Clock, RealClock
from saxflow.local.workflows.failures import Cancelled, Value, WorkflowFailure
from saxflow.local.workflows.http import HttpClient
from saxflow.local.workflows.interpreter import Run
from saxflow.local.workflows.parser import parse_workflow
from saxflow.local.workflows.runtime import Cancellation, Runtime

__all__ = [
    "Cancellation",
    "Cancelled",
    "HttpClient",
    "Run",
    "Runtime",
    "Value",
    "WorkflowFailure",
    "parse_workflow",
    "run_workflow",
]


def run_workflow(
    source: str,
    argument: Value = None,
    *,
    env: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    http: HttpClient | None = None,
    cancellation: Cancellation | None = None,
) -> Value:
    """Run a workflow to its end and return its result.

    Args:
        source: YAML or JSON.
        argument: what `main`'s parameter receives.
        env: what `sys.get_env` knows.
        clock: the machine's by default; a `VirtualClock(auto=True)` makes sleeps instant.
        http: sends requests; one with `hosts` maps API roots to local ones.
        cancellation: by which another thread can stop the run.

    Raises:
        SourceError: the source does not parse.
        WorkflowFailure: an error that the workflow did not catch.
        Cancelled: it was cancelled.
    """
    client = http or HttpClient()
    runtime = Runtime(
        clock=clock or RealClock(),
        http=client,
        environment=env or {},
        cancellation=cancellation or Cancellation(),
    )
    try:
        return Run(parse_workflow(source), runtime).execute(argument)
    finally:
        if http is None:
            client.close()
