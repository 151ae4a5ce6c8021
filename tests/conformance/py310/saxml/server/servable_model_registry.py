"""Stand-in for SAX's registry of params classes: a class is known by its module and name.

Source: google/saxml v1.1.0 saxml/server/servable_model_registry.py (behaviour, not text).
"""

REGISTRY_ROOT = None
_classes = {}


def register(model_class):
    """Enter a class under `<module>.<name>`, or under the name it asks for itself."""
    asked = model_class.sax_registration_name()
    _classes[asked or f"{model_class.__module__}.{model_class.__name__}"] = model_class
    return model_class


def get(model_name):
    """Look a class up by its full name or by its name relative to the registry's root."""
    return _classes.get(model_name) or _classes.get(f"{REGISTRY_ROOT}.{model_name}")


def get_all():
    """Return every class by its full name."""
    return _classes
