"""Stand-in: what the model server imports to fill its registry."""

from saxml.server.pax import all_imports as _
from saxml.server import servable_model_registry

servable_model_registry.REGISTRY_ROOT = "saxml.server"
