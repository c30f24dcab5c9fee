"""Two-layer networks between lazy and rich: exact reductions against explicit weights, closed forms against an ODE."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import digamma

from dlnutils import mixed
from dlnutils.saddles import riccati_flow, two_layer_mode_strength
from dlnutils.tasks import low_rank_task

pytestmark = pytest.mark.filterwarnings("error")
REFERENCE = json.loads((Path(__file__).parent / "tu2024_reference.json").read_text())


def cases(kind):
    return {name: case for name, case in REFERENCE.items() if isinstance(case, dict) and case.get("kind") == kind}


def parametrize(kind):
    found = cases(kind)
    assert found
    return pytest.mark.parametrize("case", found.values(), ids=found.keys())


@pytest.fixture
def rng():
    return np.random.default_rng(2405)


def explicit(p, q, w, sigma2, rng):
    return sigma2**0.5 * rng.standard_normal((w, p)), sigma2**0.5 * rng.standard_normal((q, w))


def explicit_step(W1, W2, Y, eta, order, grad=lambda A, Y: A - Y):
    """Textbook gradient descent, written apart from the package."""
    G = grad(W2 @ W1, Y)
    new1 = W1 - eta * W2.T @ G
    return new1, W2 - eta * G @ (new1 if order == "sequential" else W1).T


# --- weights --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("w", [1, 4, 6, 7, 10**9])
def test_reduced_init_shapes(w, rng):
    W1, W2 = mixed.reduced_init(4, 3, w, 0.1, rng)
    assert W1.shape == (min(w, 7), 4) and W2.shape == (3, min(w, 7))
    W1, W2 = mixed.reduced_init(4, 3, w, 0.1, rng, dtype=np.float32)
    assert W1.dtype == W2.dtype == np.float32


@parametrize("bartlett")
def test_reduced_init_is_bartletts_factor(case):
    """With the reference's normal and chi-squared numbers in place of the generator's."""
    class Replay(np.random.Generator):
        def standard_normal(self, size):
            z = np.array(case["z_strict_lower"])
            assert size == 6
            return z[np.tril_indices(4, -1)]

        def chisquare(self, degrees):
            np.testing.assert_array_equal(degrees, case["dof"])
            return np.array(case["chi2_diag"])
    W1, W2 = mixed.reduced_init(2, 2, case["w"], case["sigma2"], Replay(np.random.PCG64()))
    np.testing.assert_allclose(W1, case["V1"], rtol=1e-14)
    np.testing.assert_allclose(W2, case["V2"], rtol=1e-14)
    for ours, name in zip(mixed.gram_of(W1, W2), ("A0", "K1", "K2")):
        np.testing.assert_allclose(ours, case[name], rtol=1e-13)


@pytest.mark.parametrize("w", [3, 5, 6, 40])
def test_the_gram_matrix_has_the_law_of_explicit_weights(w, rng):
    """Mean, variance and (for a full rank) log-determinant of the Wishart law, and the same from direct sampling."""
    p, q, sigma2, draws = 2, 3, 0.3, 4000

    def sample(draw):
        out = []
        for _ in range(draws):
            W1, W2 = draw(p, q, w, sigma2, rng)
            rows = np.concatenate([W1.T, W2])
            out.append(rows @ rows.T)
        return np.array(out)
    reduced, direct = sample(mixed.reduced_init), sample(explicit)
    spread = sigma2 * (w * (1 + np.eye(p + q)))**0.5
    for S in (reduced, direct):
        assert np.abs((S.mean(0) - sigma2 * w * np.eye(p + q)) / spread).max() < 4.5 / draws**0.5
        np.testing.assert_allclose(S.std(0) / spread, 1, atol=0.12)
    if w >= p + q:
        exact = np.sum(digamma((w - np.arange(p + q)) / 2)) + (p + q) * np.log(2 * sigma2)
        for S in (reduced, direct):
            logdet = np.linalg.slogdet(S)[1]
            assert abs(logdet.mean() - exact) < 4.5 * logdet.std() / draws**0.5
    else:
        assert np.linalg.matrix_rank(reduced[0]) == w


def test_log_determinant_of_the_reference():
    case = cases("bartlett")["bartlett_factor"]
    exact = np.sum(digamma((case["w"] - np.arange(4)) / 2)) + 4 * np.log(2 * case["sigma2"])
    assert exact == pytest.approx(case["E_logdet"], rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 3, 9), (2, 4, 6), (4, 2, 3), (1, 1, 1)])
def test_factor_gram_inverts_gram_of(shape, rng):
    gram = mixed.gram_of(*explicit(*shape, 0.5, rng))
    for ours, given in zip(mixed.gram_of(*mixed.factor_gram(*gram)), gram):
        np.testing.assert_allclose(ours, given, atol=1e-13)


@parametrize("roots")
def test_roots(case):
    P1, P2 = mixed.roots(case["A"], case["c"])
    np.testing.assert_allclose(P1, case["P1"], atol=1e-10)
    np.testing.assert_allclose(P2, case["P2"], atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (5, 2)])
@pytest.mark.parametrize("c", [0.0, 1e-6, 0.7, 1e5])
def test_consistent_init_has_the_roots_as_its_gram_matrix(shape, c, rng):
    A0 = rng.normal(size=shape)
    A, K1, K2 = mixed.gram_of(*mixed.consistent_init(A0, c))
    scale = max(c, 1)
    np.testing.assert_allclose(A, A0, atol=1e-12 * scale)
    for K, P in zip((K1, K2), mixed.roots(A0, c)):
        np.testing.assert_allclose(K, P, atol=1e-12 * scale)
        np.testing.assert_allclose(P @ P - c**2 * np.eye(len(P)), A0.T @ A0 if K is K1 else A0 @ A0.T,
                                   atol=1e-11 * scale**2)
    X = np.block([[K1, -A.T], [A, -K2]])                   # the isospectral form: X^2 = c^2
    np.testing.assert_allclose(X @ X, c**2 * np.eye(len(X)), atol=1e-11 * scale**2)


# --- gradient descent -----------------------------------------------------------------------------------------------

@parametrize("gd")
def test_gradient_descent_and_gram_recursion_against_the_reference(case):
    W, Y = (np.array(case["W1"]), np.array(case["W2"])), np.array(case["Y"])
    gram = mixed.gram_of(*W)
    for ours, name in zip(gram, ("A0", "K1_0", "K2_0")):
        np.testing.assert_allclose(ours, case[name], atol=1e-12)
    for _ in range(case["n_steps"]):
        W = mixed.gd_step(*W, Y, case["eta"], case["order"])
        gram = mixed.gram_step(*gram, gram[0] - Y, case["eta"], case["order"])
    for ours, theirs, name in zip(mixed.gram_of(*W), gram, ("A", "K1", "K2")):
        np.testing.assert_allclose(ours, case[name], atol=case["tol"])
        np.testing.assert_allclose(theirs, case[name], atol=case["tol"])


COSTS = {
    "quadratic": None,
    "masked": lambda Y: (np.arange(Y.size).reshape(Y.shape) % 3 > 0),
    "inputs": lambda Y: np.diag(np.linspace(0.3, 1.0, Y.shape[1])),
}


@pytest.mark.parametrize("order", mixed.ORDERS)
@pytest.mark.parametrize("p, q, w", [(20, 20, 700), (12, 7, 300), (7, 12, 19), (6, 6, 4)])
@pytest.mark.parametrize("cost", COSTS)
def test_the_reduction_is_exact_over_400_steps(p, q, w, order, cost, rng):
    """Factor the explicit network's Gram matrix: the reduced network follows it to round-off."""
    W = explicit(p, q, w, 1 / w, rng)
    V = mixed.factor_gram(*mixed.gram_of(*W))
    gram, Y = mixed.gram_of(*W), rng.normal(size=(q, p))
    weight = COSTS[cost] and COSTS[cost](Y)
    grad = {"quadratic": lambda A: A - Y, "masked": lambda A: weight * (A - Y), "inputs": lambda A: (A - Y) @ weight}[cost]
    eta, worst, drift = 0.02, 0.0, 0.0
    for _ in range(400):
        W = explicit_step(*W, Y, eta, order, lambda A, Y: grad(A))
        V = mixed.gd_step(*V, Y, eta, order, grad if weight is not None else None)
        gram = mixed.gram_step(*gram, grad(gram[0]), eta, order)
        A = W[1] @ W[0]
        worst = max(worst, np.abs(V[1] @ V[0] - A).max())
        drift = max(drift, np.abs(gram[0] - A).max())
    assert worst < 1e-12 and drift < (1e-12 if w >= p + q else 1e-9)       # the Gram matrix of a narrow network is singular
    assert np.linalg.norm(grad(A)) < 0.8 * np.linalg.norm(grad(0 * A))


def test_single_precision_stays_single_and_close(rng):
    W = mixed.reduced_init(10, 8, 500, 0.002, rng)
    V, Y = tuple(M.astype(np.float32) for M in W), rng.normal(size=(8, 10))
    for _ in range(200):
        W, V = mixed.gd_step(*W, Y, 0.02), mixed.gd_step(*V, Y, 0.02)
    assert V[0].dtype == V[1].dtype == np.float32
    np.testing.assert_allclose(V[1] @ V[0], W[1] @ W[0], atol=2e-5)


def test_integer_weights_are_numbers_like_any_other():
    for ours, floats in zip(mixed.gd_step([[1, 2]], [[3], [4]], [[1, 0], [0, 0.5]], 0.1),
                            mixed.gd_step([[1.0, 2]], [[3.0], [4]], [[1, 0], [0, 0.5]], 0.1)):
        np.testing.assert_array_equal(ours, floats)


def test_any_container_of_numbers_makes_the_same_step(rng):
    (W1, W2), Y = explicit(3, 2, 4, 0.3, rng), rng.normal(size=(2, 3))
    wanted = mixed.gd_step(W1, W2, Y, 0.1)
    for kind in (np.asfortranarray, lambda M: M.tolist(), lambda M: np.repeat(M, 2, 0)[::2], lambda M: M[::-1].copy()[::-1]):
        for ours, theirs in zip(mixed.gd_step(kind(W1), kind(W2), kind(Y), 0.1), wanted):
            np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    pandas = pytest.importorskip("pandas")
    for ours, theirs in zip(mixed.gd_step(*map(pandas.DataFrame, (W1, W2, Y)), 0.1), wanted):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def test_a_gradient_needs_no_target(rng):
    W, Y = explicit(3, 2, 5, 0.3, rng), rng.normal(size=(2, 3))
    for ours, theirs in zip(mixed.gd_step(*W, None, 0.1, grad=lambda A: A - Y), mixed.gd_step(*W, Y, 0.1)):
        np.testing.assert_array_equal(ours, theirs)
    paths = [mixed.self_consistent_euler(W[1] @ W[0], target, 0.5, 0.1, 4, grad)
             for target, grad in ((None, lambda A: A - Y), (Y, None))]
    np.testing.assert_array_equal(*paths)


def test_a_seed_is_a_generator():
    for ours, theirs in zip(mixed.reduced_init(3, 2, 50, 0.1, 7), mixed.reduced_init(3, 2, 50, 0.1, np.random.default_rng(7))):
        np.testing.assert_array_equal(ours, theirs)


def test_the_two_orders_differ_by_the_square_of_the_rate(rng):
    W, Y = explicit(3, 3, 20, 0.05, rng), rng.normal(size=(3, 3))
    gaps = []
    for eta in (0.01, 0.001):
        maps = [np.matmul(*mixed.gd_step(*W, Y, eta, order)[::-1]) for order in mixed.ORDERS]
        gaps.append(np.abs(maps[0] - maps[1]).max())
    assert 80 < gaps[0] / gaps[1] < 120


def test_imbalance_changes_by_the_square_of_the_rate(rng):
    """One simultaneous step adds eta^2 (W2' G G' W2 - W1 G' G W1')."""
    (W1, W2), Y, eta = explicit(3, 2, 5, 0.3, rng), rng.normal(size=(2, 3)), 0.05
    G = W2 @ W1 - Y
    V1, V2 = mixed.gd_step(W1, W2, Y, eta, "simultaneous")
    change = (V1 @ V1.T - V2.T @ V2) - (W1 @ W1.T - W2.T @ W2)
    np.testing.assert_allclose(change, eta**2 * (W2.T @ G @ G.T @ W2 - W1 @ G.T @ G @ W1.T), atol=1e-14)


def test_zero_rate_and_the_target_are_fixed_points(rng):
    W, Y = explicit(3, 2, 5, 0.3, rng), rng.normal(size=(2, 3))
    for order in mixed.ORDERS:
        for target, eta in ((Y, 0.0), (W[1] @ W[0], 0.1)):
            for new, old in zip(mixed.gd_step(*W, target, eta, order), W):
                np.testing.assert_allclose(new, old, atol=1e-16)
            gram = mixed.gram_of(*W)
            for new, old in zip(mixed.gram_step(*gram, gram[0] - target, eta, order), gram):
                np.testing.assert_allclose(new, old, atol=1e-15)


def test_divergence_is_infinite_and_silent(rng):
    W, Y = explicit(2, 2, 4, 1.0, rng), np.eye(2)
    for _ in range(40):
        try:
            W = mixed.gd_step(*W, Y, 30.0)
        except ValueError as error:                        # what has become infinite is then refused by name
            assert "W1 must be finite" in str(error) or "W2 must be finite" in str(error)
            break
    else:
        pytest.fail("did not diverge")


# --- self-consistent dynamics ---------------------------------------------------------------------------------------

@parametrize("sc_euler")
def test_self_consistent_steps_against_the_reference(case):
    A0, Y = np.array(case["A0"]), np.array(case["Y"])
    rhs = mixed.self_consistent_rhs(A0, A0 - Y, case["c"])
    np.testing.assert_allclose(rhs, case["rhs0"], rtol=1e-9, atol=1e-9)
    path = mixed.self_consistent_euler(A0, Y, case["c"], case["eta"], case["n_steps"])
    assert path.shape == (case["n_steps"] + 1, *A0.shape)
    np.testing.assert_array_equal(path[0], A0)
    np.testing.assert_allclose(path[-1], case["A"], atol=case["tol"])


@pytest.mark.parametrize("shape", [(6, 6), (3, 7), (7, 3), (1, 4)])
@pytest.mark.parametrize("c", [0.0, 1e-9, 1e-5, 1e-3, 1.0, 1e6])
def test_one_eigendecomposition_equals_the_definition(shape, c, rng):
    A, G = rng.normal(size=shape), rng.normal(size=shape)
    P1, P2 = mixed.roots(A, c)
    np.testing.assert_allclose(mixed.self_consistent_rhs(A, G, c), -(P2 @ G + G @ P1), atol=2e-11 + 1e-14 * c)


def test_self_consistent_rhs_of_lost_directions(rng):
    """Rank one, c far below: eight digits would be lost if the squares of singular values decided."""
    A = np.outer(rng.normal(size=5), rng.normal(size=5)) * 100
    G = rng.normal(size=(5, 5))
    for c in (1e-12, 1e-7, 1e-2):
        P1, P2 = mixed.roots(A, c)
        np.testing.assert_allclose(mixed.self_consistent_rhs(A, G, c), -(P2 @ G + G @ P1), atol=1e-9)


@pytest.mark.parametrize("cost", ["quadratic", "masked", "inputs"])
def test_gradient_flow_from_consistent_weights_is_the_self_consistent_dynamics(cost, rng):
    """For any cost and shape: integrate both with an ODE solver."""
    A0, Y, c = 0.1 * rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), 0.4
    mask, covariance = rng.random((3, 4)) > 0.3, np.diag([1.0, 0.5, 2.0, 0.1])
    grad = {"quadratic": lambda A: A - Y, "masked": lambda A: mask * (A - Y), "inputs": lambda A: (A - Y) @ covariance}[cost]
    W1, W2 = mixed.consistent_init(A0, c)
    sizes = W1.size

    def flow(_, z):
        V1, V2 = z[:sizes].reshape(W1.shape), z[sizes:].reshape(W2.shape)
        G = grad(V2 @ V1)
        return -np.concatenate([(V2.T @ G).ravel(), (G @ V1.T).ravel()])
    options = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-12}
    z = solve_ivp(flow, (0, 2), np.concatenate([W1.ravel(), W2.ravel()]), **options).y[:, -1]
    A = solve_ivp(lambda _, a: mixed.self_consistent_rhs(a.reshape(3, 4), grad(a.reshape(3, 4)), c).ravel(), (0, 2),
                  A0.ravel(), **options).y[:, -1].reshape(3, 4)
    np.testing.assert_allclose(z[sizes:].reshape(W2.shape) @ z[:sizes].reshape(W1.shape), A, atol=1e-9)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2), (1, 1)])
@pytest.mark.parametrize("c", [0.0, 0.01, 1.0, 50.0])
@pytest.mark.parametrize("start", ["zero", "small", "large"])
def test_closed_flow_against_an_ode(shape, c, start, rng):
    A0 = {"zero": 0, "small": 0.1, "large": 3}[start] * rng.normal(size=shape)
    Y, T = 2 * rng.normal(size=shape), 1.5 / (1 + c)
    exact = solve_ivp(lambda _, a: mixed.self_consistent_rhs(a.reshape(shape), a.reshape(shape) - Y, c).ravel(), (0, T),
                      A0.ravel(), method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1].reshape(shape)
    path = mixed.self_consistent_flow(A0, Y, c, [T, 0.0, T / 2])
    np.testing.assert_allclose(path[1], A0, atol=1e-12)
    np.testing.assert_allclose(path[0], exact, atol=1e-8)
    np.testing.assert_array_equal(path[2], mixed.self_consistent_flow(A0, Y, c, T / 2)[0])     # one at a time
    if not (c == 0 and start == "zero"):
        again = mixed.self_consistent_flow(path[2], Y, c, T / 2)[0]            # the flow composes
        np.testing.assert_allclose(again, exact, atol=1e-8)


def test_closed_flow_at_extreme_times(rng):
    A0, Y = 0.1 * rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    for c in (1e-3, 1.0, 1e5):
        np.testing.assert_allclose(mixed.self_consistent_flow(A0, Y, c, [1e3, 1e12]), [Y, Y], atol=1e-11 * max(c, 1))
    np.testing.assert_array_equal(mixed.self_consistent_flow(np.zeros((3, 4)), Y, 0.0, [1.0, 1e4]), np.zeros((2, 3, 4)))


def test_balanced_flow_is_the_riccati_flow_of_saddles(rng):
    """c = 0 with the weights written out, and c small as its limit."""
    A0, Y = 0.3 * rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
    U, s, Vt = np.linalg.svd(A0)
    exact = riccati_flow(np.sqrt(s)[:, None] * Vt, U * np.sqrt(s), Y, [0.5, 2.0])[:, 3:, :3]
    np.testing.assert_allclose(mixed.self_consistent_flow(A0, Y, 0.0, [0.5, 2.0]), exact, atol=1e-12)
    np.testing.assert_allclose(mixed.self_consistent_flow(A0, Y, 1e-7, [0.5, 2.0]), exact, atol=1e-6)


def test_lazy_flow_is_linear(rng):
    A0, Y, c = 0.1 * rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), 1e5
    left = np.exp(-2 * c * 3e-6)
    np.testing.assert_allclose(mixed.self_consistent_flow(A0, Y, c, 3e-6)[0], left * A0 + (1 - left) * Y, atol=1e-8)


def test_euler_converges_to_the_flow_with_order_one(rng):
    A0, Y = 0.1 * rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
    exact = mixed.self_consistent_flow(A0, Y, 0.5, 1.0)[0]
    errors = [np.abs(mixed.self_consistent_euler(A0, Y, 0.5, 1 / n, n)[-1] - exact).max() for n in (100, 400)]
    assert 3.5 < errors[0] / errors[1] < 4.6


def test_wide_networks_approach_the_self_consistent_flow_as_one_over_the_root_of_the_width(rng):
    d, c, Y = 20, 20**0.8, 20**0.5 * rng.normal(size=(20, 20))
    eta = 1 / (20 * max(np.linalg.norm(Y, 2), c))
    gaps = []
    for w in (2_000, 200_000):
        worst = []
        for _ in range(4):
            W = mixed.reduced_init(d, d, w, c / w, rng)
            V = mixed.consistent_init(W[1] @ W[0], c)      # the same steps, so that only the width differs
            gap = 0.0
            for _ in range(60):
                gap = max(gap, np.linalg.norm(W[1] @ W[0] - V[1] @ V[0]))
                W, V = mixed.gd_step(*W, Y, eta), mixed.gd_step(*V, Y, eta)
            worst.append(gap)
        gaps.append(np.mean(worst))
    assert np.log(gaps[0] / gaps[1]) / np.log(100) == pytest.approx(0.5, abs=0.06)


# --- one singular value ---------------------------------------------------------------------------------------------

@parametrize("scalar")
def test_scalar_closed_form_against_the_reference(case):
    for row in case["cases"]:
        s = mixed.scalar_self_consistent(row["t"], row["y"], row["c"], row["s0"])
        assert s == pytest.approx(row["s"], rel=case["tol"], abs=1e-12)
    for row in case["t_reach"]:
        assert mixed.time_to_reach(row["frac"] * row["y"], row["y"], row["c"]) == pytest.approx(row["t"], rel=case["tol"])


def test_scalar_against_an_ode_for_any_signs(rng):
    for i in range(120):
        y, s0 = rng.normal(size=2) * 10**rng.uniform(-2, 1, 2) * [1, i % 3 > 0]
        c = 10**rng.uniform(-3, 2) * (i % 7 > 0)
        t = 10**rng.uniform(-2, 0.3) / np.hypot(y, c)
        exact = solve_ivp(lambda _, s, c=c, y=y: -2 * np.hypot(s, c) * (s - y), (0, t), [s0], method="DOP853", rtol=1e-11,
                          atol=1e-14).y[0, -1]
        s = mixed.scalar_self_consistent(t, y, c, s0)
        assert s == pytest.approx(exact, abs=2e-10 * max(abs(y), abs(s0))), (t, y, c, s0)
        if (s - s0) * (y - s) > 0 and not (c == 0 and s0 * s <= 0):
            assert mixed.time_to_reach(s, y, c, s0) == pytest.approx(t, rel=1e-8)


def test_scalar_limits():
    t = np.array([0.0, 1e-9, 0.1, 1e9])
    np.testing.assert_array_equal(mixed.scalar_self_consistent(t, 3.0, 0.0, 0.0), 0)                 # the saddle
    np.testing.assert_allclose(mixed.scalar_self_consistent(t, 0.0, 0.0, 2.0), 2 / (1 + 4 * t), rtol=1e-14)
    np.testing.assert_array_equal(mixed.scalar_self_consistent(t, 3.0, 0.7, 3.0), 3.0)               # the fixed point
    s = mixed.scalar_self_consistent(t, 3.0, 0.7, 0.2)
    assert s[0] == 0.2 and s[-1] == 3.0
    assert (s[1] - 0.2) == pytest.approx(1e-9 * 2 * np.hypot(0.2, 0.7) * 2.8, rel=1e-5)
    lazy = mixed.scalar_self_consistent(t / 1e9, 3.0, 1e9, 0.0)
    np.testing.assert_allclose(lazy, 3 * -np.expm1(-2 * t), rtol=1e-12)
    sigmoid = mixed.scalar_self_consistent(t, 3.0, 0.0, 1e-6)                                        # c = 0: the logistic
    np.testing.assert_allclose(sigmoid, two_layer_mode_strength(t, 3.0, 1e-6), rtol=1e-12)
    np.testing.assert_allclose(mixed.scalar_self_consistent(t, -3.0, 0.7, -0.2), -s, rtol=1e-15)     # odd


def test_scalar_broadcasts_and_equals_one_at_a_time(rng):
    t, y, c, s0 = rng.random((5, 1, 1)), rng.normal(size=(4, 1)), rng.random(3), 0.1
    together = mixed.scalar_self_consistent(t, y, c, s0)
    assert together.shape == (5, 4, 3)
    for i in np.ndindex(5, 4, 3):
        assert together[i] == mixed.scalar_self_consistent(t[i[0], 0, 0], y[i[1], 0], c[i[2]], s0)


def test_matrix_flow_from_zero_moves_singular_values_alone(rng):
    Y, c = rng.normal(size=(4, 3)), 0.3
    U, y, Vt = np.linalg.svd(Y, full_matrices=False)
    for t, A in zip((0.2, 1.0), mixed.self_consistent_flow(np.zeros((4, 3)), Y, c, [0.2, 1.0])):
        np.testing.assert_allclose(A, (U * mixed.scalar_self_consistent(t, y, c)) @ Vt, atol=1e-13)


def test_time_to_reach_asymptotics():
    y = 1.0
    for delta in (0.5, 0.1):
        active = mixed.time_to_reach((1 - delta) * y, y, 1e-9)
        assert active == pytest.approx((np.log(2e9) + np.log((1 - delta) / delta)) / 2, rel=1e-8)
        assert mixed.time_to_reach((1 - delta) * y, y, 1e9) == pytest.approx(np.log(1 / delta) / 2e9, rel=1e-8)


@parametrize("scalar_gd")
def test_aligned_descent_against_the_reference(case):
    steps = len(case["sequential"]) - 1
    for order, name in (("sequential", "sequential"), ("simultaneous", "simultaneous"), ("self-consistent", "sc_euler")):
        path = mixed.aligned_descent(case["y"], case["c"], case["eta"], steps, order)
        np.testing.assert_allclose(path, case[name], atol=case["tol"])
    exact = mixed.scalar_self_consistent(case["eta"] * np.arange(steps + 1), case["y"], case["c"])
    np.testing.assert_allclose(exact, case["continuous"], atol=case["tol"])


@pytest.mark.parametrize("order", ["sequential", "simultaneous", "self-consistent"])
def test_aligned_descent_is_descent_from_orthogonal_weights(order, rng):
    Y, c, eta = rng.normal(size=(4, 4)), 0.3, 0.03
    U, y, Vt = np.linalg.svd(Y)
    if order == "self-consistent":
        A = mixed.self_consistent_euler(np.zeros((4, 4)), Y, c, eta, 50)[-1]
    else:
        W = mixed.consistent_init(np.zeros((4, 4)), c)
        for _ in range(50):
            W = mixed.gd_step(*W, Y, eta, order)
        A = W[1] @ W[0]
    np.testing.assert_allclose((U * mixed.aligned_descent(y, c, eta, 50, order)[-1]) @ Vt, A, atol=1e-12)


# --- theory of the test error ---------------------------------------------------------------------------------------

@parametrize("rmt")
def test_random_matrix_curve_against_the_reference(case):
    for row in case["rows"]:
        t = row["tau"] / case["s"][0]
        error = mixed.random_matrix_test_error(t, case["s"], case["d"], float(case["d"])**row["gamma"])
        assert error == pytest.approx(row["te"], abs=1e-5)


def test_random_matrix_curve_against_a_simulation(rng):
    """At zero, at its least, late; simulated by the scalar form on the singular values of a draw."""
    d, c = 400, 400**0.4
    A_star, E = low_rank_task(d, 3, rng=rng)
    U, y, Vt = np.linalg.svd(A_star + E)
    s = np.linalg.svd(A_star, compute_uv=False)[:3]
    t = np.linspace(0, 0.1, 41)
    aligned = np.diag(U.T @ A_star @ Vt.T)
    f = mixed.scalar_self_consistent(t[:, None], y, c)
    test = (np.sum(f**2, 1) - 2 * f @ aligned + np.sum(A_star**2)) / d**2
    theory = mixed.random_matrix_test_error(t, s, d, c)
    assert np.abs(theory - test).max() < 0.02 and abs(theory.min() - test.min()) < 0.005
    assert theory[0] == pytest.approx(np.sum(s**2) / d**2)


def test_lazy_minimum_is_the_minimum_of_its_parabola():
    nu, a, e = np.meshgrid([0, 0.3, 4], [1.0, 0.5], [1.0, 2.0])
    r = np.linspace(0, 1, 100_001)[:, None, None, None]
    curve = r**2 * (nu + a) + (1 - r)**2 * e
    test, left = mixed.lazy_minimum_test(nu, a, e)
    np.testing.assert_allclose(test, curve.min(0), atol=1e-9)
    np.testing.assert_allclose(left, r[curve.argmin(0), 0, 0, 0], atol=1e-5)


@pytest.mark.parametrize("d, gamma, test, steps", [(200, 0.2, 0.1024, 165), (400, 0.2, 0.0477, 191), (800, 0.2, 0.0221, 217),
                                                   (800, 0.4, 0.0856, 155)])
def test_rich_minimum(d, gamma, test, steps):
    """The formula by hand; the steps are those of a learning rate of 1 / (50 s)."""
    ours, time = mixed.rich_minimum_test(d, 5, float(d)**gamma)
    assert ours == pytest.approx(test, abs=6e-5) and 50 * time * d / 5**0.5 == pytest.approx(steps, abs=0.6)


# --- bad input ------------------------------------------------------------------------------------------------------

RNG, EYE, NAN = np.random.default_rng(0), np.eye(2), np.full((2, 2), np.nan)
BAD = {                                                    # call, what the message must say
    "width 0": (lambda: mixed.reduced_init(2, 2, 0, 1.0, RNG), r"\bwidth must .* 1, got 0"),
    "width 2.5": (lambda: mixed.reduced_init(2, 2, 2.5, 1.0, RNG), r"\bwidth must .* got 2.5"),
    "inputs": (lambda: mixed.reduced_init(0, 2, 2, 1.0, RNG), "n_inputs must .* got 0"),
    "sigma2 0": (lambda: mixed.reduced_init(2, 2, 2, 0.0, RNG), "sigma2 must be greater than 0, got 0"),
    "sigma2 negative": (lambda: mixed.reduced_init(2, 2, 2, -1.0, RNG), "sigma2 .* -1"),
    "gram shapes": (lambda: mixed.gram_of(EYE, np.ones((2, 3))), r"W2 .* \(2, 3\)"),
    "factor shapes": (lambda: mixed.factor_gram(EYE, np.eye(3), EYE), r"K1 .* \(3, 3\)"),
    "factor symmetry": (lambda: mixed.factor_gram(EYE, [[1, 0.1], [0, 1]], EYE), "K1 must be symmetric"),
    "factor sign": (lambda: mixed.factor_gram(EYE, 0.1 * EYE, 0.1 * EYE), "positive semidefinite, got an eigenvalue of -0.9"),
    "roots c": (lambda: mixed.roots(EYE, -1.0), r"\bc must be at least 0, got -1"),
    "consistent c": (lambda: mixed.consistent_init(EYE, -1.0), r"\bc must"),
    "step order": (lambda: mixed.gd_step(EYE, EYE, EYE, 0.1, "both"), "order must be one of 'sequential', 'simultaneous'"),
    "step rate": (lambda: mixed.gd_step(EYE, EYE, EYE, -0.1), "learning_rate must be at least 0, got -0.1"),
    "step rate nan": (lambda: mixed.gd_step(EYE, EYE, EYE, np.nan), "learning_rate must be finite, got nan"),
    "step chain": (lambda: mixed.gd_step(EYE, np.ones((2, 3)), EYE, 0.1), r"W1 and W2 .* \(2, 2\) and \(2, 3\)"),
    "step target": (lambda: mixed.gd_step(EYE, EYE, np.eye(3), 0.1), r"Y must have shape \(2, 2\), got \(3, 3\)"),
    "step grad": (lambda: mixed.gd_step(EYE, EYE, EYE, 0.1, grad=lambda A: A[0]), r"grad\(A\) must have shape \(2, 2\)"),
    "step none": (lambda: mixed.gd_step(EYE, EYE, None, 0.1), "Y must be given where grad is not, got None"),
    "step rates": (lambda: mixed.gd_step(EYE, EYE, EYE, [0.1, 0.2]), "learning_rate must be one number"),
    "step complex": (lambda: mixed.gd_step([[1j]], [[1]], [[1]], 0.1), "W1 must be .*: take its real part"),
    "step text": (lambda: mixed.gd_step(EYE, EYE, [["1", "2"], ["3", "4"]], 0.1), "Y must be .*: turn text into numbers"),
    "step masked": (lambda: mixed.gd_step(EYE, np.ma.masked_equal(EYE, 0), EYE, 0.1), "W2 must not be masked"),
    "step grad complex": (lambda: mixed.gd_step([[1]], [[1]], None, 0.1, grad=lambda A: 1j * A), r"grad\(A\) .* real part"),
    "init dtype": (lambda: mixed.reduced_init(2, 2, 2, 1.0, 0, dtype=int), "dtype must be numpy.float32 or numpy.float64, got"),
    "init dtype text": (lambda: mixed.reduced_init(2, 2, 2, 1.0, 0, dtype="real"), "dtype must be .*, got 'real'"),
    "init rng": (lambda: mixed.reduced_init(2, 2, 2, 1.0, "x"), "rng must be a numpy.random.Generator or a seed, got 'x'"),
    "step nan weights": (lambda: mixed.gd_step(NAN, EYE, EYE, 0.1), "W1 must be finite, got nan"),
    "step nan target": (lambda: mixed.gd_step(EYE, EYE, NAN, 0.1), "Y must be finite, got nan"),
    "gram G": (lambda: mixed.gram_step(EYE, EYE, EYE, np.ones((3, 2)), 0.1), r"G .* \(3, 2\)"),
    "gram K2": (lambda: mixed.gram_step(EYE, EYE, np.eye(3), EYE, 0.1), r"K2 .* \(3, 3\)"),
    "gram rate": (lambda: mixed.gram_step(EYE, EYE, EYE, EYE, -1.0), "learning_rate must be at least 0"),
    "gram nan": (lambda: mixed.gram_step(NAN, EYE, EYE, EYE, 1.0), "A must be finite"),
    "rhs shapes": (lambda: mixed.self_consistent_rhs(EYE, np.eye(3), 1.0), "G must be a matrix of shape 2 x 2"),
    "rhs nan": (lambda: mixed.self_consistent_rhs(EYE, NAN, 1.0), "G must be finite"),
    "rhs c": (lambda: mixed.self_consistent_rhs(EYE, EYE, -1.0), r"\bc must be at least 0, got -1"),
    "rhs vector": (lambda: mixed.self_consistent_rhs([1.0], [1.0], 1.0), "A must be a matrix"),
    "euler none": (lambda: mixed.self_consistent_euler(EYE, None, 1.0, 0.1, 1), "Y must be given where grad is not"),
    "euler steps": (lambda: mixed.self_consistent_euler(EYE, EYE, 1.0, 0.1, -1), "n_steps .* -1"),
    "euler rate": (lambda: mixed.self_consistent_euler(EYE, EYE, 1.0, -0.1, 1), "learning_rate must be at least 0"),
    "flow shapes": (lambda: mixed.self_consistent_flow(EYE, np.eye(3), 1.0, 0.1), r"Y .* \(3, 3\)"),
    "flow times": (lambda: mixed.self_consistent_flow(EYE, EYE, 1.0, -0.1), r"\bt must be at least 0"),
    "flow grid": (lambda: mixed.self_consistent_flow(EYE, EYE, 1.0, [[0.1]]), r"\bt must be one-dimensional"),
    "scalar t": (lambda: mixed.scalar_self_consistent(-1.0, 1.0, 1.0), r"\bt must be at least 0"),
    "scalar c": (lambda: mixed.scalar_self_consistent(1.0, 1.0, -1.0), r"\bc must be at least 0"),
    "reach beyond": (lambda: mixed.time_to_reach(2.0, 1.0, 1.0), "u must lie strictly between u0 and s, got u = 2"),
    "reach start": (lambda: mixed.time_to_reach([0.5, 0.0], 1.0, 1.0), "got u = 0, u0 = 0, s = 1"),
    "reach saddle": (lambda: mixed.time_to_reach(0.5, 1.0, 0.0), "never reached with c = 0 from u0 = 0"),
    "reach across": (lambda: mixed.time_to_reach(0.5, 1.0, 0.0, -1.0), "never reached with c = 0 from u0 = -1"),
    "aligned order": (lambda: mixed.aligned_descent(1.0, 1.0, 0.1, 1, "euler"), "order .* 'self-consistent'"),
    "aligned c": (lambda: mixed.aligned_descent(1.0, -1.0, 0.1, 1), r"\bc must"),
    "rmt hidden": (lambda: mixed.random_matrix_test_error(0.0, [9.0], 100, 1.0), r"greater than sqrt\(d\) = 10, got 9"),
    "rmt shape": (lambda: mixed.random_matrix_test_error(0.0, [[90.0]], 100, 1.0), "s must be one-dimensional"),
    "rmt many": (lambda: mixed.random_matrix_test_error(0.0, [9.0] * 5, 10, 1.0), "fewer than d / 2 = 5 entries, got 5"),
    "lazy nothing": (lambda: mixed.lazy_minimum_test(0.0, 0.0, 0.0), "nothing to learn"),
    "lazy negative": (lambda: mixed.lazy_minimum_test(-1.0, 1.0, 1.0), "start_power must be at least 0"),
    "rich c": (lambda: mixed.rich_minimum_test(100, 4, 30.0), "c must be at most 25, got 30"),
    "rich rank": (lambda: mixed.rich_minimum_test(3, 4, 0.1), "k must be at most d = 3, got 4"),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD.keys())
def test_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unstable_steps_warn_with_the_bound():
    for call in (lambda: mixed.self_consistent_euler([[0.1]], [[3.0]], 4.0, 0.2, 3),
                 lambda: mixed.aligned_descent([1.0, 3.0], 4.0, 0.2, 3)):
        with pytest.warns(RuntimeWarning, match=r"learning_rate = 0.2 is unstable: it must stay below .* = 0.2$"):
            call()
    assert np.isfinite(mixed.aligned_descent(3.0, 4.0, 0.7 / 5, 300)).all()
    with pytest.warns(RuntimeWarning):
        wild = mixed.self_consistent_euler([[0.1]], [[3.0]], 4.0, 2.0, 30)
    assert np.isinf(wild[-1]).all() and np.isfinite(wild[0]).all()
