"""Learning dynamics of deep linear networks: exact solutions, mean-field solvers, and the tools of the book.

Modules are loaded when they are first used: ``dlnutils.saddles`` and ``from dlnutils import saddles`` are the same.
"""

import importlib

__version__ = "0.2.0"

#: Physics from the bottom up, then the press that makes the book.
MODULES = ("store", "fitting", "tasks", "sweep", "datasets", "linear_networks", "initial_weights", "saddles", "random_products",
           "mixed", "phases", "parameterizations", "perceptron", "dmft", "scaling_laws", "press")


def __getattr__(name: str):
    if name in MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"dlnutils has no module {name!r}: choose from {', '.join(MODULES)}")


def __dir__() -> list[str]:
    return sorted([*MODULES, "__version__"])
