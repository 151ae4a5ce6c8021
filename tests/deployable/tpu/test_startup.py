"""tpu/bootstrap.sh and tpu/startup.sh, run as a TPU VM runs them."""

from __future__ import annotations


def test_worker_becomes_ready(cell):
    cell.boot(cell.config())
    state = cell.ready()
    assert state["worker"] == 0
    assert state["epoch"] == 1
