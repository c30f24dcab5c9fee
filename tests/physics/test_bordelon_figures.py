"""Bordelon & Pehlevan 2025, figures 8 and 9: largest stable rates and the first steps of online descent."""

import json
from pathlib import Path

import numpy as np
import pytest

from dlnutils.dmft import isotropic, simulate, solve_dmft

FIGURES = json.loads((Path(__file__).parent / "bordelon2025_figures_reference.json").read_text())


def name_of(case):
    return "-".join(f"{value:g}" if isinstance(value, float) else str(value) for key, value in case.items()
                    if key in ("L", "gamma", "nu", "parameterization", "alpha_B"))


def solution(case, learning_rate, **data):
    """Centered training of a reference case."""
    gamma0 = case["gamma0"] if "gamma0" in case else case["gamma"] / (case["nu"]**0.5 if case["parameterization"] == "NTK" else 1)
    return solve_dmft(isotropic(1), n_hidden=case["L"], width=case["nu"], gamma0=gamma0, learning_rate=learning_rate,
                      centered=True, **data)


def first_factor(n_hidden, width, batch_size, learning_rate, *, pull):
    """Loss after one step over the loss before; ``pull`` is the mean kernel, L + 1 (the paper's equation 104 has L there)."""
    L = n_hidden
    spread = L * (L + 1) * (2 * L + 1) / 6 / width                   # variance of the kernel's eigenvalues: sum of k^2 over nu
    return (1 - pull * learning_rate)**2 + learning_rate**2 * (pull**2 / batch_size + spread * (1 + 1 / batch_size))


# --- Fig. 8: the largest stable rate -------------------------------------------------------------------------------

@pytest.mark.parametrize("case", [case for case in FIGURES["fig8"] if case["L"] == 1], ids=name_of)
def test_largest_stable_rate(case):
    stable, unstable = 0.01, 2.0
    while unstable / stable > 1.005:
        rate = np.sqrt(stable * unstable)
        stable, unstable = (stable, rate) if solution(case, rate, n_steps=case["T"] - 1).diverged else (rate, unstable)
    assert stable == pytest.approx(case["eta_max"], rel=0.02)


@pytest.mark.parametrize("case", [case for case in FIGURES["fig8"] if case["L"] == 2], ids=name_of)
def test_largest_stable_rate_of_two_layers(case):
    """Beyond the edge a jump may land well by chance, so it is ragged: the first rate that fails lies within 5 %."""
    rates = case["eta_max"] * np.linspace(0.95, 1.05, 6)
    failed = [solution(case, rate, n_steps=case["T"] - 1).diverged for rate in rates]
    assert not failed[0] and any(failed)


def settles(**setting):
    return solve_dmft(isotropic(1), n_steps=60, centered=True, **setting).test_loss[-20:].max() < 0.01


def largest_settling_rate(n_hidden, width, gamma0):
    law = 2 / (n_hidden + 1) * gamma0**(-2 * n_hidden / (n_hidden + 1))
    low, high = 0.8 * law, 1.2 * law
    while high / low > 1.005:
        rate = np.sqrt(low * high)
        good = settles(n_hidden=n_hidden, width=width, gamma0=gamma0, learning_rate=rate)
        low, high = (rate, high) if good else (low, rate)
    return low


@pytest.mark.parametrize("n_hidden", [1, 2])
def test_the_exponent_of_width_is_that_of_the_number_of_matrices(n_hidden):
    widths = np.array([1.0, 4.0, 16.0])
    ntk, mean_field = ([largest_settling_rate(n_hidden, width, gamma0) for width, gamma0 in zip(widths, gammas)]
                       for gammas in (32 / np.sqrt(widths), [32.0] * 3))
    slope = np.polyfit(np.log(widths), np.log([ntk, mean_field]).T, 1)[0]
    assert slope == pytest.approx([1 - 1 / (n_hidden + 1), 0], abs=0.01)          # printed: 1 - 1/L


# --- Fig. 9: the first steps ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", FIGURES["fig9"], ids=name_of)
def test_first_steps(case):
    loss = solution(case, case["eta"], batch_size=case["alpha_B"], n_steps=len(case["test_loss"]) - 1).test_loss
    np.testing.assert_allclose(loss, case["test_loss"], rtol=1e-9)
    size = case["L"], case["nu"], case["alpha_B"], case["eta"]
    right, printed = first_factor(*size, pull=case["L"] + 1), first_factor(*size, pull=case["L"])
    assert loss[1] == pytest.approx(right, rel=1e-12) and right == pytest.approx(case["factor"], rel=1e-12)
    assert printed == pytest.approx(case["factor_printed"], rel=1e-12) and abs(printed / loss[1] - 1) > 2e-3


@pytest.mark.parametrize("L, width, rate, gamma0", [(1, 0.5, 0.1, 1.0), (3, 0.7, 0.05, 0.5), (4, 0.25, 0.02, 2.0)])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_first_step_is_exact_at_any_richness_and_with_label_noise(L, width, rate, gamma0, noise):
    loss = solve_dmft(isotropic(1), n_steps=1, n_hidden=L, width=width, gamma0=gamma0, learning_rate=rate, batch_size=0.1,
                      noise=noise, centered=True).excess_loss
    kicks = noise**2 * rate**2 * ((L + 1)**2 + L * (L + 1) * (2 * L + 1) / 6 / width) / 0.1
    assert loss[1] == pytest.approx(first_factor(L, width, 0.1, rate, pull=L + 1) + kicks, rel=1e-12)


@pytest.mark.parametrize("L, width, gamma0", [(1, 0.5, 1.0), (4, 0.25, 2.0), (4, 0.5, 1.0)])
def test_an_uncentered_network_also_unlearns_its_random_start(L, width, gamma0):
    eta = 1e-6
    loss = solve_dmft(isotropic(1), n_steps=1, n_hidden=L, width=width, gamma0=gamma0, learning_rate=eta).test_loss
    assert (loss[0] - loss[1]) / (2 * eta) == pytest.approx(
        L + 1 + (L + 1 + L * (L + 1) / 2 / width) / (gamma0**2 * width), rel=1e-3)


def test_first_step_of_finite_networks():
    """With one hidden layer exact at every size: the kernel has mean square 4 + (D + 3)/N, a batch 1 + (D + 1)/B."""
    D, N, B, eta = 80, 20, 40, 0.05
    loss = simulate(isotropic(D), n_steps=1, n_hidden=1, width=N, batch_size=B, gamma0=1.0, learning_rate=eta, centered=True,
                    rng=9, n_networks=400).test_loss[:, 1]
    exact = 1 - 4 * eta + eta**2 * (4 + (D + 3) / N) * (1 + (D + 1) / B)
    error = loss.std(ddof=1) / np.sqrt(len(loss))
    assert abs(loss.mean() - exact) < 3 * error
    assert abs(first_factor(1, N / D, B / D, eta, pull=1) - loss.mean()) > 4 * error      # printed
