"""What the embedded cloud offers."""

from __future__ import annotations

import math

import pytest

from saxflow.local.tpu.hardware import BY_TOPOLOGY, ID, PARENT, SLICES


@pytest.mark.parametrize("name", SLICES)
def test_topology_has_the_chips_of_the_name(name):
    found = SLICES[name]
    assert math.prod(map(int, found.topology.split("x"))) == int(name.removeprefix("v5litepod-"))
    assert BY_TOPOLOGY[found.topology] is found


def test_single_host_up_to_eight_chips_then_four_chips_a_host():
    assert [SLICES[f"v5litepod-{n}"].hosts for n in (1, 4, 8, 16, 32)] == [1, 1, 1, 4, 8]


def test_places_are_zones():
    assert PARENT.fullmatch("projects/p/locations/us-central1-a")
    assert not PARENT.fullmatch("projects/p/locations/us-central1")
    assert ID.fullmatch("sf-tiny-abc-a1")
    assert not ID.fullmatch("Sf")
