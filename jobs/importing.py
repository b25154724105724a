"""Classes by dotted path."""

import importlib


def load_class(path: str) -> type:
    """The class that `package.module.Class` names.

    Raises:
        ImportError: the module cannot be imported, or holds no such class.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise ImportError(f"{path!r} is neither a known name nor a dotted path")
    module = importlib.import_module(module_name)
    found = getattr(module, name, None)
    if isinstance(found, type):
        return found
    raise ImportError(f"module {module_name!r} has no class {name!r}", name=module_name)
