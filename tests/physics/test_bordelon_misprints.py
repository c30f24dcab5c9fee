"""Equations that Bordelon & Pehlevan (2025) print with a slip: the printed form fails where the mended one holds.

The page of errata lists them; equation numbers are the paper's. `mean_field` is a second, slow writing of the theory for white
inputs, in blocks of all times so far, with printed forms as options. ``alpha`` and ``nu``: samples and neurons per input.
"""

import numpy as np
import pytest

from dlnutils.dmft import isotropic, simulate, solve_dmft, solve_infinite_depth


def mean_field(n_times, L, *, nu, gamma0, eta, alpha=np.inf, batch=None, sigma=0.0, centered=False, printed=""):
    """Test loss; ``alpha`` samples a unit of input in a full batch, or a fresh ``batch``."""
    Q_h, C_a = np.zeros((2, L + 1, n_times, n_times))
    C_delta, loss = np.zeros((n_times, n_times)), np.zeros(n_times)
    for t in range(1, n_times + 1):
        now, one, past = np.s_[:t, :t], np.eye(t), np.tri(t, k=-1)
        Q_g, C_b = [eta * gamma0 * past], [np.ones((t, t))]
        for i in range(L)[::-1]:                           # from the read-out down; the last pair belongs to the data
            R = np.linalg.inv(one - Q_g[0] @ Q_h[i][now])
            S_g, C_g = R @ Q_g[0], R @ C_b[0] @ R.T + R @ Q_g[0] @ C_a[i][now] @ (R @ Q_g[0]).T
            Q_g, C_b = [S_g + eta * gamma0 * C_g * past, *Q_g], [C_g, *C_b]
        factor = {"65": gamma0, "69": -1}.get(printed, 1)
        M, start = S_g / gamma0 + factor * eta * C_g * past, C_g / (gamma0**2 * nu)
        if centered:
            start = start - start[:, :1] - start[:1] + start[0, 0]
        R_delta = one
        for _ in range(t if batch is None and alpha < np.inf else 0):
            R_delta = np.linalg.inv(one + np.linalg.inv(one + M @ R_delta) @ M / alpha)
        noise = C_delta[now] * (1 if batch is None or printed == "13" else one) / (batch or alpha)
        pull = R_delta - one if printed == "h0" else R_delta
        R_v, R_0 = np.linalg.inv(one + M @ pull), np.linalg.inv(one + pull @ M)
        C_v = R_v @ (1 + start + M @ noise @ M.T) @ R_v.T
        C_delta[now] = R_delta @ (C_v + sigma**2) @ R_delta.T
        noise = C_delta[now] * (1 if batch is None or printed == "13" else one) / (batch or alpha)
        S_0 = R_0 @ pull
        C_a[0][now] = S_0 @ (1 + start) @ S_0.T + R_0 @ noise @ R_0.T
        echo = S_0.copy()
        if centered and printed != "A.3":
            echo[:, 0] -= echo.sum(1)
        Q_h[0][now] = -echo / (gamma0 * nu) + eta * gamma0 * C_a[0][now] * past
        for i in range(L):
            R = np.linalg.inv(one - Q_h[i][now] @ Q_g[i + 1])
            C_h = R @ C_a[i][now] @ R.T + R @ Q_h[i][now] @ C_b[i + 1] @ (R @ Q_h[i][now]).T
            Q_h[i + 1][now], C_a[i + 1][now] = R @ Q_h[i][now] + eta * gamma0 * C_h * past, C_h
        loss[t - 1] = C_v[-1, -1] + sigma**2
    return loss


def networks(n_times, L, *, nu, gamma0, eta, alpha=None, batch=None, sigma=0.0, centered=False, D=200, n_networks=40):
    """Mean test loss of finite networks and its standard error."""
    losses = simulate(isotropic(D), n_steps=n_times - 1, n_hidden=L, width=round(nu * D), gamma0=gamma0, learning_rate=eta,
                      n_samples=alpha and round(alpha * D), batch_size=batch and round(batch * D), noise=sigma, centered=centered,
                      n_networks=n_networks, rng=0).test_loss
    return losses.mean(0), losses.std(0, ddof=1) / n_networks**0.5


def theory(n_times, L, *, nu, gamma0, eta, alpha=None, batch=None, sigma=0.0, centered=False):
    return solve_dmft(isotropic(1), n_steps=n_times - 1, n_hidden=L, width=nu, gamma0=gamma0, learning_rate=eta, n_samples=alpha,
                      batch_size=batch, noise=sigma, centered=centered)


CASES = {
    "65": dict(L=2, nu=1.0, gamma0=3.0, eta=0.03, alpha=2.0, sigma=0.2),       # eta gamma0 C_g in v for eta C_g
    "69": dict(L=1, nu=1.0, gamma0=1.0, eta=0.05, alpha=2.0),                  # + eta C_g h0 for -
    "A.3": dict(L=2, nu=0.5, gamma0=0.5, eta=0.05, alpha=2.0, sigma=0.2, centered=True),     # centring leaves the echo as it is
    "13": dict(L=2, nu=1.0, gamma0=1.0, eta=0.03, batch=1.0),                  # fresh batches: all C_delta(s, s') for s = s'
}


@pytest.mark.parametrize("where", CASES)
def test_networks_decide(where):
    """Trained networks agree with the mended equation and not with the printed one."""
    case = CASES[where]
    right, wrong = mean_field(16, **case), mean_field(16, **case, printed=where)
    np.testing.assert_allclose(right, theory(16, **case).test_loss, rtol=1e-9)
    mean, error = networks(16, **case)
    allowed = np.maximum(3.5 * error, 0.03 * right)
    assert np.all(np.abs(mean - right) < allowed) and abs(mean[-1] - wrong[-1]) > 3 * allowed[-1]


def test_equation_65_signal():
    """65: h0(t) = sum over t' < t of R_delta v; R_delta(t, t) = 1 belongs to it (15, 52)."""
    case = dict(L=1, nu=1.0, gamma0=1.0, eta=0.1, alpha=2.0)
    right, wrong = mean_field(2, **case), mean_field(2, **case, printed="h0")
    assert right[1] < 0.8 * right[0] and wrong[1] > wrong[0]


def test_equations_13_19():
    """13, 19, 110: sums of H(t, s) over s < t leave nothing at t = 0, where the whole target is still to be learned."""
    solution = theory(6, 2, nu=2.0, gamma0=1.0, eta=0.05)
    H = np.linalg.inv(np.eye(6) + solution.M)              # what is left to learn, by what there was at each time
    start = solution.C_g[0] / 2.0
    parts = solution.decomposition
    np.testing.assert_allclose(parts["bias"], H.sum(1)**2, rtol=1e-10)
    np.testing.assert_allclose(parts["width"], np.diagonal(H @ start @ H.T), rtol=1e-10)
    without = H - np.eye(6)
    assert without.sum(1)[0] == 0 and (without @ start @ without.T)[0, 0] == 0
    assert parts["bias"][0] == 1 and solution.test_loss[0] == pytest.approx(1.5)


def test_equation_81():
    """81: H = 1 - sum of memory H, as in 73 and 111; with + the lazy loss grows as (1 + eta K)^(2 t)."""
    eta, H = 0.1, {sign: np.linalg.inv(np.eye(5) - sign * 0.2 * np.tri(5, k=-1)).sum(1)**2 for sign in (-1, 1)}
    lazy = theory(5, 1, nu=np.inf, gamma0=1e-5, eta=eta).test_loss
    np.testing.assert_allclose(lazy, H[-1], rtol=1e-8)
    np.testing.assert_allclose(H[1], (1 + 2 * eta)**(2 * np.arange(5.0)), rtol=1e-12)


def test_equations_4_24():
    """23, 24 against 4, 25: with the mean of Delta^2 and the rate N eta gamma0^2 the update would be twice that of 4."""
    eta, N, D, gamma0 = 0.1, 400, 20, 1e-4
    rng = np.random.default_rng(0)
    W, w, truth = rng.standard_normal((N, D)), rng.standard_normal(N), np.full(D, D**-0.5)
    f0 = W.T @ w / (gamma0 * N)                            # centred, so that the lazy limit has its closed form
    kernel = np.eye(D) * (w @ w / N) + W.T @ W / N
    for factor in (1, 2):                                  # of the gradient of half the population loss
        rate = factor * eta * gamma0**2 * N
        step_W, step_w = np.outer(w, truth) / (gamma0 * N), W @ truth / (gamma0 * N)
        left = truth - ((W + rate * step_W).T @ (w + rate * step_w) / (gamma0 * N) - f0)
        np.testing.assert_allclose(left, truth - factor * eta * kernel @ truth, rtol=1e-3, atol=1e-6)
    assert theory(2, 1, nu=np.inf, gamma0=1e-5, eta=eta).test_loss[1] == pytest.approx((1 - 2 * eta)**2)


def test_equation_121():
    """121: the update of W^l has a plus, as in 4 and 25."""
    rng, N, gamma0, eta = np.random.default_rng(1), 30, 1.0, 0.05
    W0, W1, w, truth = rng.standard_normal((N, 4)), rng.standard_normal((N, N)), rng.standard_normal(N), np.ones(4)

    def left(W1):
        return truth - w @ W1 @ W0 / (gamma0 * N**1.5)
    h = W0 @ left(W1)
    move = eta * gamma0 / N**0.5 * np.outer(w, h)
    assert np.sum(left(W1 + move)**2) < np.sum(left(W1)**2) < np.sum(left(W1 - move)**2)


def test_equation_61():
    """61: r0 has the covariance C_g^1 / gamma0^2 nu (42), not C_h^(l-1) / gamma0^2 nu, which is itself the loss."""
    case = dict(L=2, nu=2.0, gamma0=0.5, eta=0.01)
    mean, error = networks(1, **case)
    right, C_h0 = 1 + 1 / (0.25 * 2.0), theory(1, **case).C_h[0][0, 0]
    assert abs(mean[0] - right) < 4 * error[0] and abs(mean[0] - (1 + C_h0 / (0.25 * 2.0))) > 40 * error[0]


@pytest.mark.parametrize("L", [1, 2, 4])
def test_equation_103(L):
    """103: C_g^1(1,1) - C_g^1(0,0) = eta^2 gamma0^2 (1 + 4 + ... + L^2) C_h^0, without a factor 4, gamma0^2 throughout."""
    eta, gamma0 = 0.04, 1.7
    solution = theory(2, L, nu=0.6, gamma0=gamma0, eta=eta, alpha=3.0, sigma=0.3, centered=True)
    growth, C_h0 = solution.C_g[0][1, 1] - solution.C_g[0][0, 0], solution.C_h[0][0, 0]
    assert growth == pytest.approx(eta**2 * gamma0**2 * L * (L + 1) * (2 * L + 1) / 6 * C_h0, rel=1e-11)
    assert abs(growth / (4 * eta**2 * L**2 * gamma0**2 * C_h0) - 1) > 0.5 and abs(growth / (eta**2 * C_h0) - 1) > 0.5


@pytest.mark.parametrize("L, nu, batch, eta", [(1, 0.25, 1.0, 0.05), (1, 0.25, 0.1, 0.05), (2, 0.25, 0.1, 0.05),
                                               (4, 0.25, 0.05, 0.0125)])
def test_equation_104(L, nu, batch, eta):
    """104, 105: L + 1 matrices learn, so L + 1 stands in the first two terms; the caption of figure 9 lacks factors eta^2."""
    def recursion(K):
        return (1 - K * eta)**2 + (K * eta)**2 / batch + eta**2 * L * (L + 1) * (2 * L + 1) / (6 * nu) * (1 + 1 / batch)
    found = theory(2, L, nu=nu, gamma0=1.0, eta=eta, batch=batch, centered=True).test_loss[1]
    assert found == pytest.approx(recursion(L + 1), rel=1e-10) and abs(found / recursion(L) - 1) > 0.003
    assert (1 - eta * L)**2 + (eta * L)**2 / batch + 1 / nu + 2 / (batch * nu) > 7 * found


def test_equation_70():
    """70, figure 8: with ntk scaling the largest rate grows as nu^(1 - 1/(L + 1)), not as nu^(1 - 1/L), for L = 1 not at all."""
    edges = []
    for nu in (1.0, 4.0, 16.0):
        low, high = 0.01, 2.0
        for _ in range(9):
            eta = (low * high)**0.5
            stable = not theory(31, 1, nu=nu, gamma0=32 / nu**0.5, eta=eta, centered=True).diverged
            low, high = (eta, high) if stable else (low, eta)
        edges.append(low)
    slopes = np.diff(np.log(edges)) / np.log(4)
    assert np.all(np.abs(slopes - 0.5) < 0.06)


def test_equation_82():
    """82, 95: the loss is C_h^0(t, t) for the gradient of the population without noise; a training set gives another signal."""
    case = dict(L=2, nu=1.0, gamma0=1.0, eta=0.04)
    population, samples = theory(8, **case), theory(8, **case, alpha=2.0)
    np.testing.assert_allclose(np.diagonal(population.C_h[0]), population.test_loss, rtol=1e-12)
    assert np.all(np.abs(np.diagonal(samples.C_h[0]) / samples.test_loss - 1)[[0, -1]] > 0.4)


def test_equation_76():
    """76 to 79: the double sums over layers k and k' have k = k' only; before training C_h^(l+1) = C_h^l + beta^2 C_h^l."""
    solution = solve_dmft(isotropic(1), n_steps=1, n_hidden=4, gamma0=1.0, learning_rate=0.01, skip=True, branch_scale=0.7)
    C_h = solution.C_h[1:, 0, 0]
    alone = 1 + 0.49 * np.array([0, *np.cumsum(C_h[:-1])])
    np.testing.assert_allclose(C_h, alone, rtol=1e-12)
    crossed = 1 + 0.49 * np.array([np.sqrt(np.outer(x, x)).sum() for x in (C_h[:i] for i in range(4))])
    assert crossed[-1] > 1.3 * C_h[-1]


def test_equation_94():
    """94: without C_h^0 at tau = 0 the equation C_h(tau) = beta0^2 times the integral of C_h has the solution 0 alone."""
    beta0, settings = 1.2, dict(n_steps=1, gamma0=1.0, learning_rate=0.001)
    C_h = solve_infinite_depth(isotropic(1), **settings, branch_scale=beta0, n_layer_steps=64).C_h[:, 0, 0]
    assert C_h[-1] / C_h[0] == pytest.approx(np.exp(beta0**2), rel=2e-3)
