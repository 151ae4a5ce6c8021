"""The accelerators and runtimes that the embedded cloud offers.

Source: https://cloud.google.com/tpu/docs/v5e, https://cloud.google.com/tpu/docs/runtimes
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PARENT = re.compile(r"projects/([^/]+)/locations/([a-z]+-[a-z]+\d+-[a-z])")
ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Slice:
    """An accelerator type.

    Args:
        topology: chips as a grid, as `acceleratorConfig.topology` takes it.
        hosts: worker VMs.
    """

    name: str
    topology: str
    hosts: int


SLICES = {
    s.name: s
    for s in (
        Slice("v5litepod-1", "1x1", 1),
        Slice("v5litepod-4", "2x2", 1),
        Slice("v5litepod-8", "2x4", 1),
        Slice("v5litepod-16", "4x4", 4),
        Slice("v5litepod-32", "4x8", 8),
        Slice("v5litepod-64", "8x8", 16),
        Slice("v5litepod-128", "8x16", 32),
        Slice("v5litepod-256", "16x16", 64),
    )
}
BY_TOPOLOGY = {s.topology: s for s in SLICES.values()}
RUNTIME_VERSIONS = ("v2-alpha-tpuv5-lite", "v2-tpuv5-litepod", "tpu-ubuntu2204-base")
