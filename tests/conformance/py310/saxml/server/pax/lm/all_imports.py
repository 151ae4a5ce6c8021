"""Stand-in: the last link, where params modules are named one by one."""

# Import the servables.
from saxml.server.pax.lm.params import lm_cloud
from saxml.server.pax.lm.params import c4
# Experimental models.

# Specify the registry root.
from saxml.server import servable_model_registry

servable_model_registry.REGISTRY_ROOT = "saxml.server.pax.lm.params"
