"""Every public function takes good values in any container, and refuses bad ones by the argument's name, with a mend.

One valid call of every public function stands in ``CALLS``. The bad values of an argument follow from its annotation.
"""

import copy
import dataclasses
import importlib.util
import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from dlnutils import (
    dmft,
    fitting,
    initial_weights,
    linear_networks,
    mixed,
    parameterizations,
    perceptron,
    phases,
    random_products,
    saddles,
    scaling_laws,
    sweep,
    tasks,
)

EYE, HALF = np.eye(2), np.full((2, 2), 0.5)
POINTS = np.array([[1.0, 0.5], [0.5, -1.0], [0.25, 2.0], [-0.5, 0.75]])
LABELS = np.array([0, 1, 1, 0])
SPECTRUM = dmft.Spectrum([1.0, 0.5], [1.0, 0.25])
TIMES = np.array([0.0, 1.0, 2.0])
SMALL = {"n_steps": 3, "n_hidden": 1, "gamma0": 1.0, "learning_rate": 0.125}


def network() -> perceptron.MLP:
    return perceptron.build("mup", 1, 3, n_inputs=2, n_outputs=2, activation="relu", learning_rate=0.125, rng=0)


def fresh(arguments: dict) -> dict:
    """The arguments of one call, none of them touched by an earlier one."""
    return {name: network() if value is network else copy.deepcopy(value) for name, value in arguments.items()}


def named(module, name: str):
    """A function of a module, or a method of one of its classes; None where there is none."""
    for part in name.split("."):
        module = getattr(module, part, None)
    return module


def double(x):
    return 2 * x


#: Arguments of one valid call of every public function and class. Optional ones are given where a bad value should be tried.
CALLS = {
    saddles: {
        "two_layer_mode_strength": dict(t=[0.0, 1.0], s=2.0, u0=0.25, tau=1.0, d=1.0),
        "two_layer_learning_time": dict(u=[0.5, 0.75], s=2.0, u0=0.25, tau=1.0),
        "two_layer_unbalanced": dict(t=[0.0, 1.0], a0=0.25, b0=0.5, s=2.0, tau=1.0),
        "deep_mode_time": dict(u=[0.5, 0.75], s=2.0, u0=0.25, n_weights=3, tau=1.0),
        "deep_mode_strength": dict(t=[0.0, 1.0], s=2.0, u0=0.25, n_weights=3, tau=1.0),
        "deep_mode_time_infinite": dict(u=[0.5, 0.75], s=2.0, u0=0.25, tau=1.0),
        "max_hessian_eigenvalue": dict(s=[1.0, 2.0], n_weights=3, d=1.0),
        "random_start_delay": dict(s=[2.0, 1.0], u0=0.25, width=4, learning_rate=0.125),
        "riccati_flow": dict(W1=EYE, W2=EYE, sigma31=np.diag([2.0, 1.0]), t=[0.0, 1.0], tau=1.0, lam=0.0),
        "noisy_teacher_modes": dict(s=[2.0, 1.0], n_inputs=4, n_outputs=3, noise=0.125),
    },
    linear_networks: {
        "correlations": dict(X=POINTS, Y=POINTS),
        "composite": dict(weights=[HALF, EYE]),
        "gradients": dict(weights=[HALF, EYE], sigma31=EYE, sigma11=EYE),
        "gradient_descent": dict(weights=[HALF, EYE], sigma31=EYE, sigma11=EYE, learning_rate=0.125, n_steps=2, method="rk4",
                                 record=linear_networks.composite, every=1),
        "mode_strengths": dict(W=EYE, U=EYE, V=HALF),
        "tanh_descent": dict(W1=HALF, W2=EYE, targets=EYE, learning_rate=0.125, n_steps=2, record=np.abs),
        "timed_descent": dict(weights=[HALF, EYE], sigma31=EYE, sigma11=EYE, learning_rates=[0.125, 0.25], threshold=-0.25,
                              target_square=1.0, hold=1, max_steps=2, dtype=np.float64),
        "decoupled_descent": dict(sigma31=EYE, sigma11=EYE, n_weights=2, u0=0.25, learning_rates=[0.125, 0.25], threshold=-0.25,
                                  target_square=1.0, hold=1, max_steps=2),
    },
    initial_weights: {
        "gaussian_init": dict(sizes=[2, 3, 2], sigma=0.5, n_networks=2, rng=0),
        "orthogonal_matrix": dict(n=3, rng=0),
        "decoupled_init": dict(sigma31=EYE, sizes=[2, 3, 2], u0=0.25, rng=0),
        "glorot_uniform_init": dict(sizes=[2, 3, 2], rng=0),
        "orthogonal_init": dict(sizes=[2, 3, 2], gain=0.5, rng=0),
        "greedy_pretrained_init": dict(sigma11=EYE, sizes=[2, 2, 2], n_steps=2, sigma=0.125, learning_rate=0.5, output="gaussian",
                                       rng=0),
        "pretrained_limit_init": dict(sigma11=np.diag([2.0, 1.0]), sizes=[2, 2, 2], rng=0),
    },
    random_products: {
        "random_factor": dict(kind="gaussian", width=3, rng=0),
        "product_spectrum": dict(kind="gaussian", width=3, n_factors=2, rng=0),
        "lyapunov_exponents": dict(kind="gaussian", width=3, n_factors=2, rng=0),
        "triangular_law": dict(width=3),
        "origin_bin_fraction": dict(k=[5.0, 100.0], bin_width=0.125),
        "variance_map": dict(q=[0.5, 1.0], g=1.0),
        "slope_map": dict(q=[0.5, 1.0], g=1.0),
        "variance_fixed_point": dict(g=[0.5, 2.0]),
        "jacobian_singular_values": dict(gains=[0.5, 1.0], variances=1.0, width=3, n_factors=2, kind="gaussian", rng=0),
        "jacobian_mean_field": dict(gains=[0.5, 1.0], variances=1.0, n_factors=2),
    },
    fitting: {
        "fit_power_law": dict(x=[1.0, 2.0, 4.0, 8.0], y=[1.0, 4.0, 16.0, 64.0], low=0.0, high=100.0),
        "richardson": dict(values=[1.5, 1.25, 1.125], ratio=2.0, first_order=1),
        "first_crossing": dict(times=TIMES, values=[0.0, 1.0, 3.0], level=2.0),
    },
    tasks: {
        "hierarchical_dataset": dict(levels=2, flip=0.125, n_features=4, branching=2, rng=0),
        "hierarchical_singular_values": dict(levels=2, flip=0.125, n_features=4),
        "low_rank_task": dict(n_inputs=4, k=1, noise=0.5, n_outputs=3, rng=0),
        "one_hot": dict(labels=LABELS, n_classes=2),
    },
    sweep: {
        "sweep": dict(function=double, points=[{"x": 1.0}], jobs=1, cache="off", progress=False),
    },
    mixed: {
        "reduced_init": dict(n_inputs=2, n_outputs=2, width=3, sigma2=0.25, rng=0, dtype=np.float64),
        "gram_of": dict(W1=EYE, W2=HALF),
        "factor_gram": dict(A=EYE, K1=EYE, K2=EYE),
        "roots": dict(A=EYE, c=1.0),
        "consistent_init": dict(A0=EYE, c=1.0),
        "gd_step": dict(W1=EYE, W2=HALF, Y=EYE, learning_rate=0.125, order="sequential"),
        "gram_step": dict(A=EYE, K1=EYE, K2=EYE, G=HALF, learning_rate=0.125, order="sequential"),
        "self_consistent_rhs": dict(A=EYE, G=HALF, c=1.0),
        "self_consistent_euler": dict(A0=0.5 * EYE, Y=EYE, c=1.0, learning_rate=0.125, n_steps=2),
        "self_consistent_flow": dict(A0=0.5 * EYE, Y=EYE, c=1.0, t=TIMES),
        "scalar_self_consistent": dict(t=TIMES, s=2.0, c=1.0, u0=0.25),
        "time_to_reach": dict(u=[0.5, 1.0], s=2.0, c=1.0, u0=0.25),
        "aligned_descent": dict(s=[0.25, 0.5], c=0.5, learning_rate=0.125, n_steps=2, order="sequential"),
        "random_matrix_test_error": dict(t=TIMES, s=[4.0, 3.0], d=5, c=1.0),
        "lazy_minimum_test": dict(start_power=0.5, target_power=1.0, noise_power=0.25),
        "rich_minimum_test": dict(d=20, k=2, c=1.0),
    },
    phases: {
        "train_point": dict(gamma_sigma2=-1.5, gamma_w=1.0, d=4, k=1, target_seed=0, learning_rate_divisor=50.0, max_steps=2,
                            order="sequential", with_distance=False, precision="double", rng=0),
        "phase_diagram": dict(d=4, gamma_sigma2=[-1.5], gamma_w=[1.0], seed=0, k=1, learning_rate_divisor=50.0, max_steps=2,
                              order="sequential", precision="double", jobs=1, cache="off", progress=False),
    },
    parameterizations: {
        "initial_exponents": dict(n_hidden=2, p=1.0),
        "parameterization": dict(name="mup", n_hidden=2, p=1.0),
    },
    perceptron: {
        "rectified_power": dict(p=2),
        "linear": dict(slope=0.5),
        "draw": dict(n_hidden=1, width=3, n_inputs=2, n_outputs=2, activation="relu", mean=0.0,
                     first_bias="divided", rng=0),
        "MLP": dict(abc=parameterizations.parameterization("mup", 1), U=[np.ones((3, 2)), np.ones((2, 3))],
                    V=[np.ones(3), np.ones(2)], activation="relu", learning_rate=0.125, dtype=np.float64, loss="squared"),
        "build": dict(name="mup", n_hidden=1, width=3, n_inputs=2, n_outputs=2, activation="relu", learning_rate=0.125,
                      dtype=np.float64, loss="squared", first_bias="divided", rng=0),
        "calibrate": dict(net=network, X0=POINTS, y0=LABELS, X1=POINTS, target=1.0, output_target=0.125, cap=500.0),
        "train": dict(net=network, X=POINTS, y=LABELS, batch_size=2, n_steps=2, callback=lambda step, net: None, rng=0),
        "escape_time": dict(losses=[1.0, 0.5, 0.25, 0.125], level=0.375, window=1),
        "accuracy": dict(net=network, X=POINTS, y=LABELS, by="probabilities"),
        "ranks": dict(matrix=HALF, n_images=5),
        "sample_initial_output": dict(abc=parameterizations.parameterization("mup", 1), width=3, activation="relu", n_inputs=2,
                                      n_networks=3, rng=0),
        "coordinate_check": dict(start=network, end=network, X=POINTS),
        "own_change": dict(start=network, end=network, X=POINTS),
    },
    dmft: {
        "Spectrum": dict(eigenvalues=[1.0, 0.5], target=[1.0, 0.25], multiplicity=[1.0, 2.0]),
        "isotropic": dict(n_inputs=10.0),
        "power_law": dict(n_modes=10, a=1.5, b=0.5, n_exact=5, ratio=1.25),
        "Optimizer": dict(learning_rate=[0.5, 0.25], momentum=0.5, nesterov=False, dampening=0.25, weight_decay=[0.5, 0.25],
                          l2=[0.25, 0.5], layer_rates=[1.0, 2.0], average=0.5, clip=2.0, normalise=False),
        "Optimizer.from_memory": dict(start=[1.0, 0.5], gradients=[[0.0, 0.0], [0.5, 0.0]]),
        "Optimizer.memory": dict(self=dmft.Optimizer(0.5, momentum=0.5), n_steps=3, n_hidden=1),
        "schedule": dict(kind="linear", n_steps=4, peak=0.5, warm_up=1),
        "solve_dmft": dict(spectrum=SPECTRUM, **SMALL, width=8.0, n_samples=4.0, noise=0.25, branch_scale=1.0, initial_scale=1.0,
                           sampling=None),
        "solve_long": dict(spectrum=SPECTRUM, **SMALL | {"n_steps": 20, "learning_rate": 0.03125}, width=8.0, n_samples=4.0,
                           noise=0.25, accuracy=0.125, tolerance=1e-6, max_iterations=20),
        "solve_flow": dict(spectrum=SPECTRUM, times=TIMES, n_hidden=1, width=8.0, gamma0=1.0, n_samples=4.0, noise=0.25,
                           accuracy=0.125, tolerance=1e-6, max_iterations=20),
        "step_grid": dict(n_steps=20, ratio=0.25),
        "largest_eigenvalue": dict(spectrum=SPECTRUM, n_samples=4.0),
        "solve_infinite_depth": dict(spectrum=SPECTRUM, n_steps=3, gamma0=1.0, learning_rate=0.125, width=8.0, n_samples=4.0,
                                     noise=0.25, branch_scale=1.0, n_layer_steps=2),
        "simulate": dict(spectrum=SPECTRUM, **SMALL | {"n_hidden": 2, "learning_rate": [0.125, 0.25, 0.125]}, optimizer=None,
                         width=[4, 3], n_samples=4, batch_size=[2, 2], sampling="cycle", noise=0.25, skip=False,
                         branch_scale=[1.0], initial_scale=[1.0, 0.5, 1.0], centered=False, n_networks=2, rng=0),
        "lazy_kernel": dict(n_hidden=1, branch_scale=1.0),
        "stability_edge": dict(spectrum=dmft.isotropic(8.0), n_hidden=1, n_samples=4.0, branch_scale=1.0, momentum=0.5),
        "theory_cost": dict(n_steps=3, n_hidden=1, n_modes=2),
        "simulation_cost": dict(n_steps=3, n_hidden=1, width=4, n_inputs=2, n_samples=4, n_networks=2),
        "memory_needed": dict(n_steps=3, n_hidden=1, n_modes=2),
    },
    scaling_laws: {
        "loss_exponent": dict(b=[0.5, 1.5], n_hidden=1),
        "solve_log_grid": dict(spectrum=SPECTRUM, times=TIMES, n_hidden=1, gamma0=1.0, tolerance=1e-6, max_iterations=20),
        "one_hidden_layer_flow": dict(spectrum=SPECTRUM, times=TIMES, gamma0=1.0, width=8, rng=0, step=0.0625),
        "aligned_flow": dict(spectrum=SPECTRUM, times=TIMES, n_hidden=1, gamma0=1.0, strength=0.5, step=0.0625),
        "simulate_flow": dict(spectrum=SPECTRUM, times=TIMES, n_hidden=1, width=4, gamma0=1.0, rng=0, n_networks=2,
                              tolerance=1e-3),
    },
}
#: Public names that are no calls with arguments of a user: tables, records that functions return, folders, internal checks.
NO_CALLS = {
    linear_networks: {"Descent", "DepthRun"}, fitting: {"PowerLaw"}, phases: {"PhaseDiagram"},
    parameterizations: {"ABC", "MODELS"}, perceptron: {"Activation", "ACTIVATIONS", "Network"},
    dmft: {"Solution", "Cost", "check_memory", "CEILING"}, sweep: {"cache_folder", "end_with"},
}
#: Functions whose arguments are files and folders; they are tried in their own tests.
FILES = {"store", "datasets"}
FUNCTIONS = {f"{module.__name__.split('.')[-1]}.{name}": (named(module, name), arguments)
             for module, calls in CALLS.items() for name, arguments in calls.items()}


def test_every_public_function_is_called():
    package = Path(saddles.__file__).parent
    found = {path.stem for path in package.glob("[a-z]*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    assert found - {"press"} - FILES == {module.__name__.split(".")[-1] for module in CALLS}
    for module, calls in CALLS.items():
        assert {name.split(".")[0] for name in calls} | NO_CALLS.get(module, set()) == set(module.__all__), module.__name__


# --- what is refused ------------------------------------------------------------------------------------------------

MASKED = np.ma.masked_greater([1.0, 2.0], 1)
#: Values that no argument takes, whatever its kind, unless its annotation says so.
NEVER = {"text": "x", "complex": 1j, "masked": MASKED, "object": object()}
#: A call may take the values on the right: signs, whole numbers, booleans. It may also refuse them.
KINDS = {                                                  # by annotation: (always refused, refused or taken)
    "Callable": ({"text": "x", "number": 3}, {}),
    "Generator": ({"text": "x", "object": object(), "fraction": 1.5, "list": [1.5], "negative": -1}, {}),
    "ArrayLike": (NEVER | {"nan": np.nan, "nan in a list": [0.5, np.nan], "nothing": [[], [1.0]], "list of text": ["x", "y"]},
                  {"inf": np.inf, "negative": -0.75, "negative list": [-0.75, -0.5], "zero": 0.0, "empty": [],
                   "three axes": np.ones((2, 2, 2)), "vector": [0.5, 0.25, 0.125], "long": np.ones((3, 5))}),
    "Sequence": (NEVER | {"number": 3, "nan": [np.nan], "empty": [], "list of text": ["x", "y"]}, {"negative": [-0.75, -0.5]}),
    "float": (NEVER | {"nan": np.nan, "list": [1.0, 2.0], "array": np.ones(2), "numeral": "1.0"},
              {"inf": np.inf, "minus inf": -np.inf, "negative": -0.75, "zero": 0.0, "true": True}),
    "int": (NEVER | {"nan": np.nan, "list": [1, 2], "fraction": 1.5, "numeral": "1", "inf": np.inf, "array": np.ones(2)},
            {"negative": -1, "zero": 0, "true": True}),
    "str": (NEVER | {"number": 3, "list": ["gaussian"], "array": np.ones(2)}, {}),
    "bool": ({}, {"text": "x", "number": 3, "list": [1.0]}),
    "DTypeLike": ({"text": "x", "whole": int, "complex": complex, "number": 3, "object": object}, {}),
    "Spectrum": ({"text": "x", "number": 3, "list": [1.0, 0.5], "none": None}, {}),
    "MLP": ({"text": "x", "number": 3, "list": [1.0, 0.5], "none": None}, {}),
    "ABC": ({"text": "x", "number": 3, "none": None}, {}),
}
#: Arguments for which a value above means something: (argument, bad value).
MEANT = {("activation", "text"), ("level", "nan")}


def kind_of(annotation: str) -> str:
    return "" if "PathLike" in annotation else next((kind for kind in KINDS if re.search(rf"\b{kind}\b", annotation)), "")


def bad_values(function, arguments):
    """Triples (argument, name of a bad value, the value, whether it must be refused) for one function."""
    for name, parameter in inspect.signature(function).parameters.items():
        if name in arguments and (kind := kind_of(str(parameter.annotation))):
            refused, perhaps = KINDS[kind]
            if parameter.default is not None and "None" not in str(parameter.annotation) and kind not in ("bool", "Generator"):
                refused = refused | {"none": None}
            for label, value in (refused | perhaps).items():
                if (name, label) not in MEANT:
                    yield name, label, value, label in refused


def complaint(error: Exception, names, value) -> str:
    """What a message lacks: one of the arguments, the value (or its shape or kind), what must be."""
    text = str(error)
    shown = np.asarray(value, dtype=object)
    pieces = [repr(value), "masked", "shape", *(str(entry) for entry in shown.flat), *(repr(entry) for entry in shown.flat)]
    pieces += [f"{value:g}"] if isinstance(value, (float, int)) else []
    if not re.search(rf"\b({'|'.join(names)})\b", text):
        return "does not name the argument"
    if not any(piece in text for piece in pieces if piece) and "got" not in text:
        return "does not show the value"
    return "" if re.search(r"\bmust\b|:", text) else "has no mend"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_values_are_refused_by_name(name):
    function, arguments = FUNCTIONS[name]
    function(**fresh(arguments))
    faults = []
    for argument, label, value, refused in bad_values(function, arguments):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                function(**fresh(arguments) | {argument: value})
        except (ValueError, TypeError) as error:
            names = [argument] if refused else list(arguments)       # a shape or a size may disagree with another argument's
            if lack := complaint(error, names, value):
                faults.append(f"{argument} = {label}: {type(error).__name__} {lack}: {error}")
        except Exception as error:                         # noqa: BLE001
            faults.append(f"{argument} = {label}: {type(error).__name__}: {error}")
        else:
            if refused:
                faults.append(f"{argument} = {label}: taken without a word")
    assert not faults, "\n".join(faults)


# --- what is taken --------------------------------------------------------------------------------------------------

def backwards(x):
    return np.flip(np.flip(x).copy())                      # the same entries at negative strides


CONTAINERS = {"list": lambda x: x.tolist(), "float32": np.float32, "Fortran": np.asfortranarray, "backwards": backwards,
              "integers": lambda x: x.astype(int), "big-endian": lambda x: x.astype(">f8"), "object": lambda x: x.astype(object),
              "read-only": lambda x: np.lib.stride_tricks.as_strided(x, writeable=False), "table": None}


def contained(container, value, dtype=float):
    """An array argument in another container; None where its entries do not allow it."""
    array = np.asarray(value, dtype=dtype)
    if container == "integers" and np.any(array % 1) or container == "Fortran" and array.ndim < 2:
        return None
    if container == "table":
        pandas = importlib.util.find_spec("pandas") and importlib.import_module("pandas")
        return None if array.ndim not in (1, 2) or not pandas else (pandas.Series if array.ndim == 1 else pandas.DataFrame)(array)
    return CONTAINERS[container](array)


def leaves(result):
    """The numbers of a result, however nested."""
    if isinstance(result, dict):
        result = list(result.values())
    if dataclasses.is_dataclass(result) or hasattr(result, "__dict__") and not isinstance(result, (np.ndarray, tuple)):
        result = list(vars(result).values())
    if isinstance(result, (list, tuple)):
        return [leaf for entry in result for leaf in leaves(entry)]
    array = np.asarray(result if isinstance(result, (np.ndarray, float, int)) else "")
    return [array] if array.dtype.kind in "biufc" else []


def in_containers(name: str, value, container: str):
    """The value of an argument, an array or a list of arrays, in another container; None where its entries do not allow it."""
    if isinstance(value, list) and isinstance(value[0], np.ndarray):
        changed = [contained(container, entry) for entry in value]
        return None if any(entry is None for entry in changed) else changed
    if name in ("y", "y0", "labels"):                      # labels are whole numbers
        return None if container in ("float32", "big-endian", "object") else contained(container, value, int)
    return contained(container, value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers_are_taken_from_any_container(name):
    function, arguments = FUNCTIONS[name]
    expected = leaves(function(**fresh(arguments)))
    for argument, parameter in inspect.signature(function).parameters.items():
        kind = kind_of(str(parameter.annotation))
        if argument not in arguments or kind not in ("ArrayLike", "Sequence") or argument in ("sizes", "activation"):
            continue
        for container in CONTAINERS:
            changed = in_containers(argument, arguments[argument], container)
            if changed is not None:
                found = leaves(function(**fresh(arguments) | {argument: changed}))
                assert len(found) == len(expected), (argument, container)
                for one, other in zip(found, expected):
                    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7, err_msg=f"{argument} as {container}")
