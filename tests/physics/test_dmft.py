"""The causal mean-field solver against reference numbers, a second derivation, analytic limits and finite networks."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dlnutils import dmft
from dlnutils.dmft import Spectrum, _data, _rows, isotropic, network, power_law, simulate, solve_dmft, solver
from dlnutils.fitting import richardson

pytestmark = pytest.mark.filterwarnings("error")
HERE = Path(__file__).parent
PLAIN = json.loads((HERE / "bordelon2025_mlp_reference.json").read_text())
CASES = json.loads((HERE / "bordelon2025_residual_powerlaw_reference.json").read_text())["cases"]
ISOTROPIC = [name for name, case in CASES.items() if "nu" in case["params"] and "L" in case["params"]]
POWER_LAW = [name for name, case in CASES.items() if "N" in case["params"]]


def plain_solver(nu, alpha, L, gamma0, eta, T, sigma=0.0, online=False):
    """The plain network alone, from the closed equations in matrix form, row by row: test and train loss."""
    past = np.tri(T, k=-1)
    one, theta = np.ones((T, T)), eta * gamma0 * past
    A, B, Ch, Cg = np.zeros((4, L + 2, T, T))
    Cg[L + 1], B[L + 1] = one, 0.0
    Rgu, Rhr = np.zeros((2, L + 2, T, T))
    Cd, Cv, R = np.zeros((T, T)), np.zeros((T, T)), np.eye(T)
    eye, test, train = np.eye(T), [], []
    for t in range(T):
        n = slice(t + 1)
        for l in range(L, 0, -1):                          # rows up to t of the backward pass
            B[l][n, n] = (Rgu[l + 1] + theta * Cg[l + 1])[n, n]
            BA = B[l][n, n] @ A[l][n, n]
            inverse = np.linalg.inv(eye[n, n] - BA)
            Rgu[l][n, n] = inverse @ B[l][n, n]
            below = B[l][n, n] @ Ch[l - 1][n, n] @ B[l][n, n].T
            Cg[l][n, n] = inverse @ (Cg[l + 1][n, n] + below) @ inverse.T
        M = (Rgu[1] / gamma0 + eta * Cg[1] * past)[n, n]
        if not online:                                     # R and K define each other: fixed point of the causal equations
            for _ in range(2):
                K = np.linalg.inv(eye[n, n] + M @ R[n, n])
                R[n, n] = np.linalg.inv(eye[n, n] + K @ M / alpha)
        K = np.linalg.inv(eye[n, n] + M @ R[n, n])
        noise = np.diag(np.diag(Cd[n, n])) if online else Cd[n, n]
        start = one[n, n] + Cg[1][n, n] / (gamma0**2 * nu)
        Cv[n, n] = K @ (start + M @ noise @ M.T / alpha) @ K.T
        Cd[n, n] = R[n, n] @ (Cv[n, n] + sigma**2) @ R[n, n].T
        test.append(Cv[t, t] + sigma**2)
        train.append(Cd[t, t])
        Q = np.linalg.inv(eye[n, n] + R[n, n] @ M)
        noise = np.diag(np.diag(Cd[n, n])) if online else Cd[n, n]
        Ch[0][n, n] = Q @ (noise / alpha + R[n, n] @ start @ R[n, n].T) @ Q.T
        Rhr[0][n, n] = -Q @ R[n, n] / (gamma0 * nu**0.5)
        for l in range(1, L + 1):
            carried = Rhr[0] / nu**0.5 if l == 1 else Rhr[l - 1]
            A[l][n, n] = (carried + theta * Ch[l - 1])[n, n]
            inverse = np.linalg.inv(eye[n, n] - A[l][n, n] @ B[l][n, n])
            Rhr[l][n, n] = inverse @ A[l][n, n]
            above = A[l][n, n] @ Cg[l + 1][n, n] @ A[l][n, n].T
            Ch[l][n, n] = inverse @ (Ch[l - 1][n, n] + above) @ inverse.T
    return np.array(test), np.array(train)


def ratios(nu, alpha, L, gamma0, eta, T, sigma=0.0, online=False, size=1.0):
    """The same settings for the package; sizes enter as ratios only."""
    data = {"batch_size" if online else "n_samples": alpha * size}
    return dict(spectrum=isotropic(size), n_steps=T - 1, n_hidden=L, width=nu * size, gamma0=gamma0, learning_rate=eta,
                noise=sigma, **data)


# --- reference numbers ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", PLAIN, ids=lambda case: f"L{case['settings']['L']}-nu{case['settings']['nu']}")
def test_plain_reference(case):
    solution = solve_dmft(**ratios(**case["settings"], size=100))
    np.testing.assert_allclose(solution.test_loss, case["test_loss"], rtol=1e-9)
    np.testing.assert_allclose(solution.train_loss, case["train_loss"], rtol=1e-9)


@pytest.mark.parametrize("name", ISOTROPIC)
def test_residual_reference(name):
    case = CASES[name]
    p = case["params"]
    data = {"n_samples": p["alpha"]} if "alpha" in p else {"batch_size": p["alphaB"]}
    solution = solve_dmft(isotropic(1), n_steps=p["T"] - 1, n_hidden=p["L"], width=p["nu"], gamma0=p["gamma0"],
                          learning_rate=p["eta"], noise=p["sigma"], skip=bool(p["skip"]), branch_scale=p["beta"], **data)
    np.testing.assert_allclose(solution.excess_loss, case["test"], rtol=1e-9)
    np.testing.assert_allclose(solution.train_loss, case["train"], rtol=1e-9)
    np.testing.assert_allclose(np.diagonal(solution.C_h[-1]), case["Ch_diag_last"], rtol=1e-9)
    np.testing.assert_allclose(np.diagonal(solution.C_g[0]), case["Cg_diag_first"], rtol=1e-9)


@pytest.mark.parametrize("name", POWER_LAW)
def test_power_law_reference(name):
    case = CASES[name]
    p = case["params"]
    solution = solve_dmft(power_law(p["M"], p["a"], p["b"]), n_steps=p["T"] - 1, n_hidden=p["L"], width=p["N"],
                          gamma0=p["gamma0"], learning_rate=p["eta"], n_samples=p.get("P"), batch_size=p.get("B"),
                          noise=p.get("sigma", 0.0), skip=bool(p.get("skip", 0)), branch_scale=p.get("beta", 1.0))
    np.testing.assert_allclose(solution.excess_loss, case["test"], rtol=1e-9)
    np.testing.assert_allclose(solution.train_loss, case["train"], rtol=1e-9)
    np.testing.assert_allclose(solution.mode_loss.sum(0), solution.excess_loss, rtol=1e-12)


def test_the_reference_covers_what_it_should():
    assert len(PLAIN) == 6 and len(ISOTROPIC) >= 5 and len(POWER_LAW) >= 4
    assert any("alphaB" in CASES[name]["params"] for name in ISOTROPIC)


SETTINGS = [
    dict(nu=1.0, alpha=1.5, L=3, gamma0=0.7, eta=0.04, T=25, sigma=0.5),
    dict(nu=0.5, alpha=2.0, L=2, gamma0=1.5, eta=0.05, T=25),
    dict(nu=4.0, alpha=0.6, L=1, gamma0=0.3, eta=0.1, T=25, sigma=0.2),
    dict(nu=2.0, alpha=0.5, L=3, gamma0=1.0, eta=0.05, T=25, sigma=0.3, online=True),
    dict(nu=1.0, alpha=2.0, L=4, gamma0=2.0, eta=0.01, T=20, online=True),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_second_derivation(settings):
    test, train = plain_solver(**settings)
    solution = solve_dmft(**ratios(**settings))
    np.testing.assert_allclose(solution.test_loss, test, rtol=1e-12)
    np.testing.assert_allclose(solution.train_loss, train, rtol=1e-12)


# --- exact properties -----------------------------------------------------------------------------------------------

BASE = dict(n_steps=14, n_hidden=2, width=1.5, gamma0=0.8, learning_rate=0.05, noise=0.3)
DATA = {"full": {"n_samples": 2.0}, "online": {"batch_size": 1.2}, "population": {}}


@pytest.mark.parametrize("data", DATA)
def test_only_ratios_of_sizes_matter(data):
    base = solve_dmft(isotropic(1), **BASE, **DATA[data])
    for size in (10.0, 1e6):
        scaled = {name: size * value for name, value in (BASE | DATA[data]).items()
                  if name in ("width", "n_samples", "batch_size")}
        large = solve_dmft(isotropic(size), **BASE | DATA[data] | scaled)
        np.testing.assert_allclose(large.test_loss, base.test_loss, rtol=1e-12)
        np.testing.assert_allclose(large.train_loss, base.train_loss, rtol=1e-12)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("skip", [False, True])
def test_a_shorter_run_is_the_beginning_of_a_longer_one(data, skip):
    settings = BASE | DATA[data] | {"skip": skip, "branch_scale": 0.7}
    long, short = (solve_dmft(isotropic(1), **settings | {"n_steps": T}) for T in (14, 5))
    np.testing.assert_allclose(short.test_loss, long.test_loss[:6], rtol=1e-13)
    np.testing.assert_allclose(short.C_h, long.C_h[:, :6, :6], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(solve_dmft(isotropic(1), **settings | {"n_steps": 0}).test_loss, long.test_loss[:1])


@pytest.mark.parametrize("data", DATA)
def test_equal_modes_may_be_listed_or_counted(data):
    """Three ways to write the same spectrum."""
    pair = Spectrum([2.0, 0.5], [0.3, 0.7], [2.0, 3.0])
    listed = Spectrum([2.0, 2.0, 0.5, 0.5, 0.5], [0.3, 0.3, 0.7, 0.7, 0.7])
    unequal = Spectrum([2.0, 0.5, 0.5], [0.3, 0.9, 0.6], [2.0, 1.0, 2.0])      # the same power in the second level
    settings = BASE | DATA[data] | {"width": 4.0}
    first, second, third = (solve_dmft(spectrum, **settings) for spectrum in (pair, listed, unequal))
    for other in (second, third):
        np.testing.assert_allclose(other.test_loss, first.test_loss, rtol=1e-12)
        np.testing.assert_allclose(other.train_loss, first.train_loss, rtol=1e-12)
    np.testing.assert_allclose(second.mode_loss[2:].sum(0), first.mode_loss[1], rtol=1e-11)


def test_without_branches_depth_does_nothing():
    """Skips with branch scale 0: the hidden layers are wires."""
    one = solve_dmft(isotropic(1), **BASE | {"n_hidden": 1}, n_samples=2.0)
    deep = solve_dmft(isotropic(1), **BASE | {"n_hidden": 5}, n_samples=2.0, skip=True, branch_scale=0.0)
    np.testing.assert_allclose(deep.test_loss, one.test_loss, rtol=1e-12)


@pytest.mark.parametrize("skip, beta", [(False, 1.0), (True, 0.5), (True, 1.2), (False, 0.8)])
@pytest.mark.parametrize("L", [1, 2, 4])
def test_losses_before_the_first_step(skip, beta, L):
    solution = solve_dmft(isotropic(1), **BASE | {"n_hidden": L, "n_steps": 0}, n_samples=3.0, skip=skip, branch_scale=beta)
    gain = (skip + beta**2)**(L - 1)
    excess = 1 + gain / (BASE["gamma0"]**2 * BASE["width"])
    assert solution.excess_loss[0] == pytest.approx(excess, rel=1e-12)
    assert solution.train_loss[0] == solution.test_loss[0] == pytest.approx(excess + 0.09, rel=1e-12)


def test_tiny_losses_are_not_negative():
    for eta in (0.1, 0.15, 0.2):
        solution = solve_dmft(isotropic(1), n_steps=30, n_hidden=2, width=32, gamma0=4, learning_rate=eta, batch_size=4.0)
        assert (solution.test_loss >= 0).all() and (solution.train_loss >= 0).all() and (solution.mode_loss >= 0).all()


def test_the_kernel_starts_at_its_lazy_value_and_grows():
    solution = solve_dmft(isotropic(1), **BASE | {"width": np.inf})
    assert solution.kernel[0] == pytest.approx(dmft.lazy_kernel(BASE["n_hidden"]), rel=1e-12)
    assert solution.kernel.shape == (BASE["n_steps"],) and (np.diff(solution.kernel) > 0).all()


def test_a_tiny_learning_rate_moves_nothing():
    solution = solve_dmft(isotropic(1), **BASE | {"learning_rate": 1e-16}, n_samples=2.0)
    np.testing.assert_allclose(solution.test_loss, solution.test_loss[0], rtol=1e-13)


def test_large_samples_and_batches_tend_to_the_population():
    population = solve_dmft(isotropic(1), **BASE)
    np.testing.assert_array_equal(population.train_loss, population.test_loss)
    for name in ("n_samples", "batch_size"):
        gaps = [np.abs(solve_dmft(isotropic(1), **BASE, **{name: size}).test_loss - population.test_loss).max()
                for size in (1e3, 1e4)]
        assert gaps[1] < 1e-3 and 9 < gaps[0] / gaps[1] < 11                   # corrections of order one over the size


def test_large_widths_tend_to_infinite_width():
    infinite = solve_dmft(isotropic(1), **BASE | {"width": np.inf}, n_samples=2.0)
    gaps = [np.abs(solve_dmft(isotropic(1), **BASE | {"width": width}, n_samples=2.0).test_loss - infinite.test_loss).max()
            for width in (1e3, 1e4)]
    assert gaps[1] < 1e-3 and 9.5 < gaps[0] / gaps[1] < 10.5


@pytest.mark.parametrize("skip, beta, L", [(False, 1.0, 1), (False, 1.0, 3), (True, 0.5, 4), (True, 8**-0.5, 8)])
def test_lazy_limit_at_infinite_width(skip, beta, L):
    """Population gradient, white inputs: a geometric decay with the kernel of the lazy limit."""
    K = dmft.lazy_kernel(L, skip=skip, branch_scale=beta)
    eta = 0.3 / K
    solution = solve_dmft(isotropic(1), n_steps=19, n_hidden=L, gamma0=1e-3, learning_rate=eta, skip=skip, branch_scale=beta)
    np.testing.assert_allclose(solution.test_loss, (1 - eta * K)**(2 * np.arange(20)), rtol=2e-4, atol=2e-5)


def test_lazy_full_batch_is_linear_regression():
    """One hidden layer: an average over the Marchenko-Pastur law of the sample covariance."""
    alpha, eta, T = 2.0, 0.1, 120
    solution = solve_dmft(isotropic(1), n_steps=T - 1, n_hidden=1, gamma0=1e-5, learning_rate=eta, n_samples=alpha)
    low, high = (1 - alpha**-0.5)**2, (1 + alpha**-0.5)**2
    nodes, weights = np.polynomial.chebyshev.chebgauss(400)
    x = (low + high) / 2 + (high - low) / 2 * nodes
    density = alpha * np.sqrt((high - x) * (x - low)) / (2 * np.pi * x)
    quadrature = weights * np.sqrt(1 - nodes**2) * (high - low) / 2 * density
    assert quadrature.sum() == pytest.approx(1, rel=1e-4)
    exact = (1 - 2 * eta * x[None])**(2 * np.arange(T)[:, None]) @ quadrature / quadrature.sum()
    np.testing.assert_allclose(solution.test_loss, exact, rtol=2e-4)
    train = ((1 - 2 * eta * x[None])**(2 * np.arange(T)[:, None]) * x) @ quadrature / quadrature.sum()
    np.testing.assert_allclose(solution.train_loss, train, rtol=2e-4)


@pytest.mark.parametrize("L, beta, alpha", [(1, 1.0, 2.0), (4, 0.5, 2.0), (8, 8**-0.5, 1.0)])
def test_edge_of_stability(L, beta, alpha):
    edge = dmft.stability_edge(isotropic(1), L, n_samples=alpha, skip=True, branch_scale=beta)
    for factor, grows in ((0.98, False), (1.05, True)):
        train = solve_dmft(isotropic(1), n_steps=59, n_hidden=L, gamma0=1e-5, learning_rate=factor * edge, n_samples=alpha,
                           skip=True, branch_scale=beta).train_loss
        assert (train[-1] > train[-8]) == grows


def test_above_the_edge_losses_are_infinite_and_stay_so():
    """Far above the edge rounding takes over, and a solver that goes on returns small numbers in the end."""
    for data in ({"n_samples": 2.0}, {}, {"batch_size": 1.0}):
        solution = solve_dmft(isotropic(1), n_steps=59, n_hidden=1, width=1.0, gamma0=1.0, learning_rate=1.5, **data)
        first = int(np.argmax(np.isinf(solution.train_loss)))
        assert solution.diverged and 0 < first < 20
        assert np.isinf(solution.train_loss[first:]).all() and np.isinf(solution.test_loss[first:]).all()
        assert np.isinf(solution.mode_loss[:, first:]).all()
        assert (solution.train_loss[:first] <= 1000 * solution.train_loss[0]).all()
        assert "diverged" in repr(solution)
    assert not solve_dmft(isotropic(1), **BASE).diverged


def test_the_equal_time_response_matters():
    """The diagonal of the first layer's response is -1 / (gamma0 nu), and so is <h1 g1> / N at the start."""
    solution = solve_dmft(isotropic(1), **BASE | {"n_hidden": 1}, n_samples=2.0)
    np.testing.assert_allclose(np.diagonal(solution.S_h[0]), -1 / (BASE["gamma0"] * BASE["width"]), rtol=1e-12)
    rng, size, width, overlap = np.random.default_rng(0), 200, 300, []
    for _ in range(20):
        W, w, X = rng.standard_normal((width, size)), rng.standard_normal(width), rng.standard_normal((400, size))
        error = rng.standard_normal(size) / size**0.5 - W.T @ w / (BASE["gamma0"] * width)
        overlap.append((W @ (X.T @ (X @ error) / 400)) @ w / width)
    error = np.std(overlap) / 20**0.5
    assert np.mean(overlap) == pytest.approx(-size / (BASE["gamma0"] * width), abs=4 * error)


# --- finite networks ------------------------------------------------------------------------------------------------

NETWORKS = {
    "plain full batch": (isotropic(400), dict(n_hidden=3, width=400, gamma0=0.7, learning_rate=0.04, noise=0.5, n_samples=600)),
    "plain online": (isotropic(400), dict(n_hidden=2, width=200, gamma0=1.0, learning_rate=0.05, noise=0.3, batch_size=200)),
    "plain population": (isotropic(400), dict(n_hidden=2, width=800, gamma0=1.0, learning_rate=0.05)),
    "residual": (isotropic(400), dict(n_hidden=4, width=400, gamma0=1.0, learning_rate=0.05, noise=0.3, n_samples=800,
                                      skip=True, branch_scale=0.5)),
    "power law": (power_law(500, 1.5, 0.5), dict(n_hidden=1, width=256, gamma0=1.0, learning_rate=0.2)),
    "power law full batch": (power_law(500, 1.5, 0.5), dict(n_hidden=1, width=256, gamma0=1.0, learning_rate=0.1, noise=0.3,
                                                            n_samples=128)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_theory_against_finite_networks(name):
    """Time-averaged deviation of the mean over networks below 2 % or three standard errors, whichever is more."""
    spectrum, settings = NETWORKS[name]
    theory = solve_dmft(spectrum, n_steps=24, **settings)
    networks = simulate(spectrum, n_steps=24, **settings, rng=np.random.default_rng(7), n_networks=16)
    for loss in ("test_loss", "train_loss"):
        runs, exact = getattr(networks, loss), getattr(theory, loss)
        deviation = np.mean(np.abs(runs.mean(0) / exact - 1))
        error = np.mean(runs.std(0, ddof=1) / 4 / exact)
        assert deviation < max(0.02, 3 * error), (loss, deviation, error)
        assert error < 0.06                                # the comparison is not empty


def explicit_network(spectrum, p, rng, T):
    """Gradient descent with automatic nothing: matrices updated by the gradient of the loss, written out."""
    count = spectrum.multiplicity.astype(int)
    group = np.repeat(np.arange(len(count)), count)
    lam, D, N = spectrum.eigenvalues[group], int(count.sum()), p["width"]
    truth = np.sqrt(spectrum.target[group]) * rng.choice([-1.0, 1.0], D)
    W = [rng.standard_normal((N, D))] + [rng.standard_normal((N, N)) for _ in range(p["n_hidden"] - 1)]
    w = rng.standard_normal(N)
    X = rng.standard_normal((p["n_samples"], D)) * np.sqrt(lam)
    y = X @ truth + p["noise"] * rng.standard_normal(p["n_samples"])
    s, beta, losses = p["skip"], p["branch_scale"], []

    def forward(X):
        signals = [X @ W[0].T]
        for V in W[1:]:
            signals.append(s * signals[-1] + beta / N**0.5 * signals[-1] @ V.T)
        return signals, signals[-1] @ w / (p["gamma0"] * N)
    for _ in range(T):
        signals, f = forward(X)
        losses.append(np.mean((y - f)**2))
        error = (y - f)[:, None] / len(y)
        rate = p["learning_rate"] * p["gamma0"]**2 * N / (p["gamma0"] * N)
        back = [np.broadcast_to(w, (len(y), N))]
        for V in reversed(W[1:]):
            back.append(s * back[-1] + beta / N**0.5 * back[-1] @ V)
        back = back[::-1]
        w = w + rate * (signals[-1].T @ error)[:, 0]
        steps = [rate * (error * back[0]).T @ X]
        steps += [rate * beta / N**0.5 * (error * g).T @ h for g, h in zip(back[1:], signals)]
        W = [V + step for V, step in zip(W, steps)]
    return np.array(losses)


@pytest.mark.parametrize("skip, beta", [(False, 1.0), (True, 0.6)])
@pytest.mark.parametrize("L", [1, 2, 4])
def test_simulation_is_gradient_descent(skip, beta, L):
    """Rank-one bookkeeping against matrices updated by back-propagation, with the same draws."""
    spectrum = Spectrum([1.0, 0.3], [0.1, 0.2], [6, 4])
    p = dict(n_hidden=L, width=8, gamma0=0.9, learning_rate=0.05, n_samples=12, noise=0.2, skip=skip, branch_scale=beta)
    run = simulate(spectrum, n_steps=19, **p, rng=np.random.default_rng(5))
    exact = explicit_network(spectrum, p, np.random.default_rng(5).spawn(1)[0], 20)
    assert run.train_loss.shape == run.test_loss.shape == (20,) and run.mode_loss.shape == (2, 20)
    np.testing.assert_allclose(run.train_loss, exact, rtol=1e-10)


def test_simulated_networks_do_not_depend_on_their_number():
    settings = dict(n_steps=5, n_hidden=2, width=20, gamma0=1.0, learning_rate=0.05, batch_size=10)
    few, many = (simulate(isotropic(15), **settings, rng=np.random.default_rng(1), n_networks=n) for n in (2, 4))
    np.testing.assert_array_equal(few.train_loss, many.train_loss[:2])
    assert many.mode_loss.shape == (4, 1, 6) and many.C_h is None and "simulation" in repr(many)


def test_simulation_diverges_to_infinity():
    run = simulate(isotropic(20), n_steps=39, n_hidden=2, width=20, gamma0=1.0, learning_rate=5.0, n_samples=30,
                   rng=np.random.default_rng(0), n_networks=3)
    assert run.diverged and np.isinf(run.train_loss[:, -1]).all() and np.isinf(run.test_loss[:, -1]).all()
    assert np.isfinite(run.train_loss[:, 0]).all()


# --- spectra, files, bad input --------------------------------------------------------------------------------------

def test_power_law_is_what_it_says():
    spectrum, k = power_law(100, 1.5, 0.5), np.arange(1, 101)
    np.testing.assert_allclose(spectrum.eigenvalues, k**-1.5)
    np.testing.assert_allclose(spectrum.target * spectrum.eigenvalues, k**-1.75)
    assert spectrum.n_inputs == 100


def test_bins_keep_modes_power_and_loss():
    exact, binned = power_law(500, 1.5, 0.5), power_law(500, 1.5, 0.5, n_exact=20, ratio=1.2)
    assert binned.n_inputs == 500 and len(binned.eigenvalues) < 45
    assert binned.power == pytest.approx(exact.power, rel=1e-12)
    np.testing.assert_allclose(binned.eigenvalues[:20], exact.eigenvalues[:20])
    settings = dict(n_steps=29, n_hidden=2, width=256.0, gamma0=1.0, learning_rate=0.1, batch_size=64.0)
    np.testing.assert_allclose(solve_dmft(binned, **settings).test_loss, solve_dmft(exact, **settings).test_loss, rtol=1e-3)


def test_solutions_are_saved_and_loaded(tmp_path):
    theory = solve_dmft(isotropic(3), **BASE, n_samples=2.0)
    networks = simulate(isotropic(8), n_steps=3, n_hidden=1, width=5, gamma0=1.0, learning_rate=0.1, rng=np.random.default_rng(0))
    infinite = solve_dmft(power_law(30, 1.5, 1.0), n_steps=4, n_hidden=2, gamma0=1.0, learning_rate=0.1)
    for solution in (theory, networks, infinite):
        solution.save(tmp_path / "solution.npz")
        again = dmft.Solution.load(tmp_path / "solution.npz")
        assert repr(again) == repr(solution) and again.parameters == solution.parameters
        for name in ("train_loss", "test_loss", "excess_loss", "mode_loss", "C_h", "C_g", "S_h", "S_g", "M", "R_delta"):
            np.testing.assert_array_equal(getattr(again, name), getattr(solution, name))
        np.testing.assert_array_equal(again.spectrum.target, solution.spectrum.target)
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(ValueError, match="Solution.save"):
        dmft.Solution.load(tmp_path / "other.npz")


def test_memory_is_stated_before_it_is_taken():
    with pytest.raises(ValueError, match=r"n_steps = 999999 needs .* GB and .* GB are free: lower it"):
        solve_dmft(isotropic(1), n_steps=999_999, n_hidden=3, gamma0=1.0, learning_rate=0.1)
    assert dmft.memory_needed(800, 3) < 3e8


RNG = np.random.default_rng(0)
GOOD = dict(n_steps=2, n_hidden=1, width=4, gamma0=1.0, learning_rate=0.1)
BAD = {                                                    # change of the arguments, what the message must say
    "steps": ({"n_steps": -1}, "n_steps must be an integer of at least 0, got -1"),
    "hidden": ({"n_hidden": 0}, "n_hidden .* got 0"),
    "hidden part": ({"n_hidden": 1.5}, "n_hidden .* got 1.5"),
    "width": ({"width": 0}, "width must be greater than 0, got 0"),
    "width nan": ({"width": np.nan}, "width must be finite, got nan"),
    "width word": ({"width": "wide"}, "width must be a number .* 'wide'"),
    "gamma": ({"gamma0": 0.0}, "gamma0 must be greater than 0"),
    "rate": ({"learning_rate": -0.1}, "learning_rate must be greater than 0, got -0.1"),
    "rate 0": ({"learning_rate": 0.0}, "learning_rate must be greater than 0, got 0"),
    "samples": ({"n_samples": 0}, "n_samples must be greater than 0"),
    "batch": ({"batch_size": -1}, "batch_size must be greater than 0"),
    "both": ({"n_samples": 3, "batch_size": 2}, "n_samples and batch_size exclude each other without sampling, got 3 and 2"),
    "noise": ({"noise": -0.1}, "noise must be at least 0"),
    "two numbers": ({"gamma0": [1.0, 2.0]}, r"gamma0 must be one number, got \[1.0, 2.0\]"),
    "two widths": ({"width": np.array([3.0, np.inf])}, "width must be one number"),
    "two steps": ({"n_steps": [3, 4]}, r"n_steps must be an integer .* got \[3, 4\]"),
    "complex": ({"learning_rate": 0.1j}, "learning_rate must be a number .* real part"),
    "word for skips": ({"skip": "no"}, "skip must be True or False, got 'no'"),
    "two skips": ({"skip": np.array([True, False])}, "skip must be True or False"),
    "branch": ({"branch_scale": -1.0}, "branch_scale must be at least 0"),
}


@pytest.mark.parametrize("change, message", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("function", ["solve", "simulate"])
def test_bad_argument_is_named(function, change, message):
    with pytest.raises(ValueError, match=message):
        if function == "solve":
            solve_dmft(isotropic(5), **GOOD | change)
        else:
            simulate(isotropic(5), **GOOD | change, rng=RNG)


WRONG = {
    "spectrum": (lambda: solve_dmft([1.0], **GOOD), r"spectrum must be a Spectrum, got \[1.0\]"),
    "shapes": (lambda: Spectrum([1.0, 2.0], [1.0]), "target must be one-dimensional, as long as eigenvalues"),
    "matrix": (lambda: Spectrum(np.eye(2), np.eye(2)), "eigenvalues must be one-dimensional"),
    "negative": (lambda: Spectrum([-1.0], [1.0]), "eigenvalues must be at least 0, got -1"),
    "infinite": (lambda: Spectrum([1.0, np.inf], [1.0, 1.0]), "eigenvalues must be finite, got inf"),
    "nan": (lambda: Spectrum([1.0], [np.nan]), "target must be finite, got nan"),
    "negative target": (lambda: Spectrum([1.0], [-1.0]), "target must be at least 0, got -1"),
    "count": (lambda: Spectrum([1.0], [1.0], [0.0]), "multiplicity must be greater than 0"),
    "dimension": (lambda: isotropic(0), "n_inputs must be greater than 0"),
    "modes": (lambda: power_law(0, 1.5, 0.5), "n_modes .* 0"),
    "exponent": (lambda: power_law(5, -1.5, 0.5), r"\ba must be greater than 0"),
    "ratio": (lambda: power_law(5, 1.5, 0.5, n_exact=2, ratio=1.0), "ratio must be greater than 1"),
    "simulated width": (lambda: simulate(isotropic(5), **GOOD | {"width": 2.5}, rng=RNG), "width must be an integer .* 2.5"),
    "simulated infinity": (lambda: simulate(isotropic(5), **GOOD | {"width": np.inf}, rng=RNG),
                           "width must be an integer .* inf"),
    "simulated inputs": (lambda: simulate(isotropic(5.5), **GOOD, rng=RNG),
                         "multiplicity must be an integer .* 5.5: a simulation"),
    "kernel": (lambda: simulate(isotropic(5), **GOOD, rng=RNG).kernel, "kernel is an order parameter of discrete steps"),
    "two dimensions": (lambda: isotropic([5, 6]), "n_inputs must be one number"),
    "generator": (lambda: simulate(isotropic(5), **GOOD, rng="x"), "rng must be a numpy.random.Generator or a seed, got 'x'"),
    "networks": (lambda: simulate(isotropic(5), **GOOD, rng=RNG, n_networks=0), "n_networks .* 0"),
    "lazy layers": (lambda: dmft.lazy_kernel(0), "n_hidden .* 0"),
    "edge": (lambda: dmft.stability_edge(power_law(5, 1.5, 1.0), 1, n_samples=-3), "n_samples must be greater than 0, got -3"),
}


@pytest.mark.parametrize("call, message", WRONG.values(), ids=WRONG.keys())
def test_wrong_object_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- infinite depth -------------------------------------------------------------------------------------------------

DEEP = dict(n_steps=39, width=1.0, gamma0=1.0, learning_rate=0.03, n_samples=2.0, noise=0.2)


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.fixture(scope="module")
def limit():
    """Test loss at infinite depth from finite networks alone: four orders of 1 / L removed."""
    losses = [solve_dmft(isotropic(1), n_hidden=L, skip=True, branch_scale=L**-0.5, **DEEP).excess_loss
              for L in (8, 16, 32, 64, 128)]
    return richardson(losses)


def test_infinite_depth_reference():
    case = CASES["A10_infdepth_richardson"]
    deep = dmft.solve_infinite_depth(isotropic(1), n_layer_steps=32, **DEEP)
    assert distance(deep.excess_loss, np.array(case["test"])) < 1e-4
    for n in (8, 16, 32):                                  # the reference's Heun: another second-order scheme
        other = CASES[f"A9_infdepth_Heun_n{n}"]
        mine = dmft.solve_infinite_depth(isotropic(1), n_layer_steps=n, **DEEP)
        assert distance(mine.excess_loss, np.array(other["test"])) < 0.35 / n**2


def test_infinite_depth_is_the_limit_of_finite_depth(limit):
    losses = {n: dmft.solve_infinite_depth(isotropic(1), n_layer_steps=n, **DEEP).excess_loss for n in (4, 8, 16, 32)}
    errors = [distance(losses[n], limit) for n in losses]
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all((3.5 < ratios) & (ratios < 4.5))         # second order
    assert distance(richardson([losses[16], losses[32]], first_order=2), limit) < 1e-5
    direct = [distance(solve_dmft(isotropic(1), n_hidden=L, skip=True, branch_scale=L**-0.5, **DEEP).excess_loss, limit)
              for L in (32, 64)]
    assert 1.7 < direct[0] / direct[1] < 2.1               # while depth itself converges with 1 / L


@pytest.mark.parametrize("data", DATA)
def test_infinite_depth_with_every_kind_of_data(data):
    settings = dict(n_steps=11, width=1.5, gamma0=0.8, learning_rate=0.02, noise=0.3, **DATA[data])
    spectrum = Spectrum([1.0, 0.4], [0.3, 0.7], [1.0, 2.0])
    deep = [dmft.solve_infinite_depth(spectrum, n_layer_steps=n, branch_scale=0.7, **settings) for n in (8, 16)]
    finite = [solve_dmft(spectrum, n_hidden=L, skip=True, branch_scale=0.7 * L**-0.5, **settings) for L in (16, 32, 64)]
    for quantity in ("test_loss", "train_loss"):
        np.testing.assert_allclose(richardson([getattr(x, quantity) for x in deep], first_order=2),
                                   richardson([getattr(x, quantity) for x in finite]), rtol=3e-5)
    # Layer l of many is the point of layer time l / L: the last of both, and the middle.
    last, middle = (richardson([x.C_h[-1] for x in finite]), richardson([x.C_g[x.parameters["n_hidden"] // 2] for x in finite]))
    assert np.abs(deep[1].C_h[-1] - last).max() < 1e-3 * last.max()
    assert np.abs(deep[1].C_g[8] - middle).max() < 3e-3 * middle.max()


def test_infinite_depth_is_causal_and_without_branches_one_layer():
    long = dmft.solve_infinite_depth(isotropic(1), n_layer_steps=4, **DEEP)
    short = dmft.solve_infinite_depth(isotropic(1), n_layer_steps=4, **DEEP | {"n_steps": 8})
    np.testing.assert_array_equal(short.test_loss, long.test_loss[:9])
    flat = dmft.solve_infinite_depth(isotropic(1), n_layer_steps=3, branch_scale=0.0, **DEEP)
    np.testing.assert_allclose(flat.test_loss, solve_dmft(isotropic(1), n_hidden=1, **DEEP).test_loss, rtol=1e-12)


@pytest.mark.parametrize("beta0", [0.5, 1.0])
def test_infinite_depth_lazy_limit(beta0):
    eta, kernel = 0.01, (2 + beta0**2) * np.exp(beta0**2)
    deep = dmft.solve_infinite_depth(isotropic(1), n_steps=19, gamma0=1e-3, learning_rate=eta, branch_scale=beta0,
                                     n_layer_steps=32)
    np.testing.assert_allclose(deep.test_loss, (1 - eta * kernel)**(2 * np.arange(20)), rtol=2e-3)
    np.testing.assert_allclose(deep.kernel[0], kernel, rtol=1e-3)


def test_infinite_depth_diverges_to_infinity():
    deep = dmft.solve_infinite_depth(isotropic(1), n_layer_steps=4, **DEEP | {"learning_rate": 0.5})
    assert deep.diverged and np.isinf(deep.test_loss[-1]) and np.isfinite(deep.test_loss[0])


def test_infinite_depth_is_saved_and_loaded(tmp_path):
    deep = dmft.solve_infinite_depth(isotropic(1), n_layer_steps=2, **DEEP | {"n_steps": 3})
    deep.save(tmp_path / "deep.npz")
    back = dmft.Solution.load(tmp_path / "deep.npz")
    assert repr(back) == repr(deep) and back.parameters["n_hidden"] == np.inf and back.converged
    assert "infinitely many hidden layers" in repr(back)


@pytest.mark.parametrize("change, message", [
    ({"n_layer_steps": 0}, "n_layer_steps must be an integer of at least 1, got 0"),
    ({"branch_scale": -1.0}, "branch_scale must be at least 0"),
    ({"n_samples": 2.0, "batch_size": 1.0}, "exclude each other"),
    ({"n_steps": 300_000}, "n_steps = 300000 needs .* GB"),
], ids=str)
def test_infinite_depth_names_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        dmft.solve_infinite_depth(isotropic(1), **DEEP | change)


# --- bins -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("b", [0.5, 1 / 3, 1.5])
def test_bins_beyond_a_million_hold_the_same_sums(b):
    a, n = 1.5, 5_000_000
    k = np.arange(1, n + 1, dtype=float)
    bins = power_law(n, a, b, n_exact=10, ratio=1.5)
    assert bins.n_inputs == n and bins.power == pytest.approx(np.sum(k**(-a * b - 1)), rel=1e-12)
    total = np.sum(bins.multiplicity * bins.target)
    assert total == pytest.approx(np.sum(k**(a - a * b - 1)), rel=1e-12)
    huge = power_law(10**18, a, b, n_exact=10, ratio=1.5)
    assert huge.n_inputs == pytest.approx(1e18, rel=1e-12) and len(huge.eigenvalues) < 120
    np.testing.assert_allclose(huge.eigenvalues[20:25], bins.eigenvalues[20:25], rtol=1e-12)


# --- counted operations ---------------------------------------------------------------------------------------------

BLOCKS = {
    "full batch": (isotropic(1), dict(n_hidden=3, width=1.0, gamma0=1.0, learning_rate=0.02, n_samples=2.0, noise=0.3)),
    "rich": (isotropic(1), dict(n_hidden=3, width=1.0, gamma0=4.0, learning_rate=0.02, n_samples=0.7, noise=0.3)),
    "online": (isotropic(1), dict(n_hidden=2, width=2.0, gamma0=1.0, learning_rate=0.05, batch_size=1.0, noise=0.3)),
    "many modes": (power_law(200, 1.5, 0.7, n_exact=8, ratio=1.8), dict(n_hidden=2, width=50.0, gamma0=1.0,
                                                                       learning_rate=0.1)),
    "residual": (isotropic(1), dict(n_hidden=3, width=1.0, gamma0=1.0, learning_rate=0.02, n_samples=2.0, skip=True,
                                    branch_scale=0.5)),
    "large steps": (isotropic(1), dict(n_hidden=3, width=1.0, gamma0=1.0, learning_rate=0.03, n_samples=2.0, skip=True)),
    "oscillating": (isotropic(1), dict(n_hidden=2, width=3.0, gamma0=1.0, learning_rate=0.29, n_samples=3.0)),
    "diverging late": (isotropic(1), dict(n_hidden=2, width=3.0, gamma0=1.0, learning_rate=0.305, n_samples=3.0)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_rows_solved_together_equal_rows_solved_one_by_one(name, monkeypatch):
    spectrum, settings = BLOCKS[name]
    T = solver.FIRST + (280 if name == "full batch" else 70)
    together = solve_dmft(spectrum, n_steps=T - 1, **settings)
    monkeypatch.setattr(solver, "FIRST", 1000)
    alone = solve_dmft(spectrum, n_steps=T - 1, **settings)
    for matrix in ("train_loss", "test_loss", "mode_loss", "C_h", "C_g", "S_h", "S_g", "M", "R_delta"):
        ours, theirs = getattr(together, matrix), getattr(alone, matrix)
        finite = np.isfinite(theirs)
        assert (np.isfinite(ours) == finite).all()
        assert np.abs(ours - theirs)[finite].max() <= 1e-12 * np.abs(theirs[finite]).max(), matrix


def test_windows_are_used_where_they_settle_fast_and_only_there(monkeypatch):
    sizes = []
    signal = _data._Data.signal
    monkeypatch.setattr(_data._Data, "signal",
                        lambda self, rows, C: sizes.append(rows.stop - rows.start) or signal(self, rows, C))
    alone, T = solver.FIRST, solver.FIRST + 3 * solver.WINDOW
    for name in ("full batch", "oscillating", "large steps"):
        sizes.clear()
        spectrum, settings = BLOCKS[name]
        solve_dmft(spectrum, n_steps=T - 1, **settings)
        assert sizes[:alone] == [1] * alone and sizes[alone] == solver.WINDOW
        if name == "full batch":
            assert len(sizes) < T - 20
        else:
            assert sizes.count(1) >= alone + solver.WINDOW


def test_windows_are_the_same_to_the_last_bit_every_time():
    spectrum, settings = BLOCKS["rich"]
    first, second = (solve_dmft(spectrum, n_steps=solver.FIRST + 40, **settings) for _ in range(2))
    np.testing.assert_array_equal(first.test_loss, second.test_loss)


@pytest.mark.parametrize("end", [400, 300])
def test_the_driver_of_windows_needs_nothing_but_a_sweep(end):
    """``X = 1 + rate Theta X``, which is ``(1 + rate)^(t - s - 1) rate`` below the diagonal; nothing is finite from `end` on."""
    T, rate = 400, 0.002
    X, causal, calls, cleared = np.zeros((T, T)), np.tri(T, k=-1), [], []

    def sweep(rows):
        calls.append(rows)
        now = slice(rows.stop)
        X[rows, now] = np.eye(T)[rows, now] + rate * causal[rows, now] @ X[now, now]
        return rows.stop <= end

    def clear(rows):
        cleared.append(rows)
        X[rows], X[:, rows] = 0.0, 0.0
    assert solver._solve_rows(T, sweep, [(X, False)], clear) == end
    lag = np.subtract.outer(np.arange(T), np.arange(T))
    exact = np.where(lag > 0, rate * (1 + rate)**(lag - 1.0), np.eye(T))
    np.testing.assert_allclose(X[:end, :end], exact[:end, :end], atol=1e-12)
    assert len(calls) < T - 50 and bool(cleared) == (end < T)


class Counted(np.ndarray):
    """An array that counts the multiplications and additions of its matrix products."""

    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        if ufunc is np.matmul:
            a, b = (np.shape(x) for x in plain)
            rows = a[-2] if len(a) > 1 else 1
            columns = b[-1] if len(b) > 1 else 1
            stack = np.prod(np.broadcast_shapes(a[:-2], b[:-2]), dtype=float)
            Counted.operations += 2 * stack * rows * a[-1] * columns
        if out is not None:
            options["out"] = tuple(x.view(np.ndarray) if isinstance(x, Counted) else x for x in out)
        result = getattr(ufunc, method)(*plain, **options)
        return result.view(Counted) if isinstance(result, np.ndarray) else result


class CountingNumpy:
    """numpy, with arrays that count in place of those it makes from nothing."""

    def __getattr__(self, name):
        made = getattr(np, name)
        return (lambda *args, **options: made(*args, **options).view(Counted)) if name in ("zeros", "empty") else made


@pytest.mark.parametrize("L, skip, modes", [(1, False, 1), (3, False, 1), (3, True, 1), (2, False, 5)])
def test_the_cost_of_the_theory_is_counted(L, skip, modes, monkeypatch):
    spectrum = Spectrum(np.linspace(1, 2, modes), np.full(modes, 1 / modes))
    for module in (solver, _data, _rows):
        monkeypatch.setattr(module, "np", CountingNumpy())
    monkeypatch.setattr(Counted, "operations", 0)
    settings = dict(n_hidden=L, width=2.0, gamma0=1.0, learning_rate=0.01, n_samples=3.0, skip=skip, branch_scale=0.5)
    solve_dmft(spectrum, n_steps=110, **settings)
    # Rows have t or t + 1 entries: the leading term is right up to a few times 1 / T.
    assert Counted.operations == pytest.approx(dmft.theory_cost(110, L, n_modes=modes, skip=skip).operations, rel=0.05)


class CountingGenerator(np.random.Generator):
    """A generator whose normal numbers count."""

    def spawn(self, n):
        return [CountingGenerator(child.bit_generator) for child in np.random.Generator(self.bit_generator).spawn(n)]

    def standard_normal(self, size):
        return super().standard_normal(size).view(Counted)


@pytest.mark.parametrize("L", [1, 3])
def test_the_cost_of_a_simulation_is_counted(L, monkeypatch):
    monkeypatch.setattr(network, "np", CountingNumpy())
    monkeypatch.setattr(Counted, "operations", 0)
    simulate(isotropic(40), n_steps=30, n_hidden=L, width=50, gamma0=1.0, learning_rate=0.01, n_samples=60,
             rng=CountingGenerator(np.random.PCG64(0)), n_networks=2)
    cost = dmft.simulation_cost(30, L, width=50, n_inputs=40, n_samples=60, n_networks=2)
    assert Counted.operations == pytest.approx(cost.operations, rel=0.04)


@pytest.mark.parametrize("L, skip, T", [(3, False, 151), (4, True, 81), (16, True, 81)])
def test_memory_of_the_theory_is_what_it_takes(L, skip, T):
    """With skips, too, it grows as the first power of the depth."""
    settings = dict(width=1.0, gamma0=1.0, learning_rate=0.001, n_samples=2.0, skip=skip, branch_scale=0.2 if skip else 1.0)
    solve_dmft(isotropic(1), n_steps=2, n_hidden=1, **settings)            # what is loaded once does not count
    tracemalloc.start()
    solve_dmft(isotropic(1), n_steps=T - 1, n_hidden=L, **settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak == pytest.approx(dmft.memory_needed(T - 1, L, skip=skip), rel=0.25 if L == 3 else 0.1)


# --- what the package offers ----------------------------------------------------------------------------------------

def test_seeds_and_generators_are_the_same_networks():
    settings = dict(n_steps=3, n_hidden=2, width=6, gamma0=1.0, learning_rate=0.1, n_samples=7)
    seeded, drawn = (simulate(isotropic(5), **settings, rng=rng) for rng in (3, np.random.default_rng(3)))
    np.testing.assert_array_equal(seeded.train_loss, drawn.train_loss)


def test_spectra_take_any_container_of_numbers():
    wanted = Spectrum([2.0, 1.0], [1.0, 3.0], [1.0, 2.0])
    for kind in (tuple, lambda x: np.array(x, dtype=np.float32), lambda x: np.array(x, dtype=int),
                 lambda x: np.array(x[::-1])[::-1]):
        spectrum = Spectrum(kind([2, 1]), kind([1, 3]), kind([1, 2]))
        assert spectrum.eigenvalues.dtype == float and spectrum.power == wanted.power == 8.0


def test_completion_offers_the_names_of_the_package_alone():
    assert set(dir(dmft)) == set(dmft.__all__) and not {"json", "Path", "FIRST", "np"} & set(dir(dmft))
