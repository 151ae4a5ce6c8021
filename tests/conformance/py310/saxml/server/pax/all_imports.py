"""Stand-in: the second link of the import chain."""

from saxml.server.pax.lm import all_imports as _
from saxml.server import servable_model_registry

servable_model_registry.REGISTRY_ROOT = "saxml.server.pax"
