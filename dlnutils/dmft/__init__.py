"""Dynamical mean-field theory of deep linear networks in training (Bordelon & Pehlevan 2025), solved causally in one pass.

The network is ``f(x) = w' [W_{L-1} ... W_1] W_0 x / (gamma_0 N)`` with Gaussian weights of variance one, ``L`` hidden layers of
width ``N``, branches ``beta W / sqrt(N)`` and, if asked for, skip connections. Inputs have independent components of variance
``lambda_k``, the target is ``sum_k w*_k x_k`` plus noise, the learning rate is ``eta gamma_0^2 N``. All sizes are large and their
ratios matter; every number here is deterministic. ``T``: recorded times, one more than updates; ``K``: distinct modes.
"""

from .estimates import (
    Cost,
    check_memory,
    largest_eigenvalue,
    lazy_kernel,
    memory_needed,
    simulation_cost,
    stability_edge,
    theory_cost,
)
from .infinite_depth import solve_infinite_depth
from .long_runs import solve_flow, solve_long, step_grid
from .network import simulate
from .optimizers import Optimizer, schedule
from .solution import CEILING, Solution
from .solver import solve_dmft
from .spectrum import Spectrum, isotropic, power_law

__all__ = ["Spectrum", "isotropic", "power_law", "Solution", "Optimizer", "schedule", "solve_dmft", "solve_infinite_depth",
           "solve_long", "solve_flow", "step_grid", "simulate", "lazy_kernel", "largest_eigenvalue",
           "stability_edge", "Cost", "theory_cost", "simulation_cost", "memory_needed", "check_memory", "CEILING"]


def __dir__() -> list[str]:
    """What completion offers: the names above, without the files they come from."""
    return __all__
