"""Spectra of one's own data and in bins; solutions as files and tables; what simulations refuse."""

import json
import sys

import numpy as np
import pytest

from dlnutils import dmft, store
from dlnutils.dmft import Spectrum, isotropic, power_law, simulate, solve_dmft

pytestmark = pytest.mark.filterwarnings("error")
BASE = dict(n_steps=4, n_hidden=2, width=1.5, gamma0=1.0, learning_rate=0.1)


@pytest.mark.parametrize("contents", [
    b"some text", b"", dict(x=1), dict(train_loss=1, parameters=2, spectrum_eigenvalues=3),
    dict(train_loss=np.array([{}], dtype=object), parameters=2, spectrum_eigenvalues=3)])
def test_other_files_are_no_solutions(tmp_path, contents):
    path = tmp_path / "other.npz"
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    else:
        np.savez(path, **contents)
    with pytest.raises(ValueError, match="path must be a file that Solution.save wrote, got .*other.npz.* solve again") as caught:
        dmft.Solution.load(path)
    assert "pickle" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    with pytest.raises(FileNotFoundError):
        dmft.Solution.load(tmp_path / "nothing.npz")


def test_solutions_of_other_versions(tmp_path):
    """Before version 2 ``n_steps`` counted records in the file, and there was no version."""
    path, solution = tmp_path / "solution.npz", solve_dmft(isotropic(3), **BASE, n_samples=2.0)
    solution.save(path)
    stored = store.read_arrays(path)
    assert stored.pop("version") == 2
    del stored["spectrum_binning_error"]
    records = len(solution.test_loss)
    parameters = solution.parameters | {"n_steps": records}
    store.write_arrays(path, stored | {"parameters": json.dumps(parameters)})
    old = dmft.Solution.load(path)
    assert old.parameters == solution.parameters and repr(old) == repr(solution) and old.parameters["n_steps"] == records - 1
    store.write_arrays(path, stored | {"version": 3})
    with pytest.raises(ValueError, match="in version 3, and this package reads 2 at most: update it"):
        dmft.Solution.load(path)


def test_losses_as_a_table():
    pytest.importorskip("pandas")
    theory = solve_dmft(isotropic(3), **BASE, n_samples=2.0, noise=0.5)
    table = theory.to_frame()
    assert table.columns.to_list() == ["step", "train_loss", "test_loss", "excess_loss"]
    np.testing.assert_array_equal(table["step"], np.arange(len(theory.test_loss)))
    for name in ("train_loss", "test_loss", "excess_loss"):
        np.testing.assert_array_equal(table[name], getattr(theory, name))
    networks = simulate(isotropic(4), n_steps=2, n_hidden=1, width=5, gamma0=1.0, learning_rate=0.1, rng=0, n_networks=3)
    table = networks.to_frame()
    assert table.columns.to_list() == ["network", "step", "train_loss", "test_loss", "excess_loss"]
    assert table["network"].to_list() == [0] * 3 + [1] * 3 + [2] * 3 and table["step"].to_list() == [0, 1, 2] * 3
    np.testing.assert_array_equal(table["test_loss"], networks.test_loss.ravel())


def test_a_table_without_pandas_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="to_frame needs pandas: python -m pip install pandas"):
        solve_dmft(isotropic(1), **BASE).to_frame()


# --- data of one's own ----------------------------------------------------------------------------------------------

def test_a_spectrum_from_data_has_its_moments_and_its_target():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 5)) @ rng.standard_normal((5, 5))
    w, noise = rng.standard_normal(5), rng.standard_normal(200)
    y = X @ w + noise - X @ np.linalg.lstsq(X, noise)[0]   # noise that no linear map fits
    s = Spectrum.from_data(X, y)
    second = X.T @ X / 200
    np.testing.assert_allclose(s.eigenvalues, np.linalg.eigvalsh(second)[::-1])
    assert s.power == pytest.approx(w @ second @ w) and s.n_inputs == 5
    assert np.sum(s.target) == pytest.approx(w @ w)
    assert np.mean(y**2) - s.power == pytest.approx(np.mean((y - X @ w)**2))
    np.testing.assert_allclose(Spectrum.from_data(X.astype("f4").tolist(), y).eigenvalues, s.eigenvalues, rtol=1e-5)


def test_a_spectrum_from_data_predicts_a_network_on_them():
    """Lazy descent on the whole data set, of the linear map itself: every mode decays by its own eigenvalue."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((50, 4)) * [2.0, 1.0, 0.5, 0.1], rng.standard_normal(50)
    s, f = Spectrum.from_data(X, y), np.zeros(4)
    excess = []
    for _ in range(30):
        excess.append(np.mean((y - X @ f)**2) - (np.mean(y**2) - s.power))
        f += 0.1 * X.T @ (y - X @ f) / 50
    np.testing.assert_allclose(solve_dmft(s, n_steps=29, n_hidden=1, gamma0=1e-5, learning_rate=0.05).excess_loss, excess,
                               rtol=1e-4)


def test_data_of_low_rank_have_modes_without_variance():
    X = np.random.default_rng(2).standard_normal((4, 9)) + 3.0
    s = Spectrum.from_data(X, X.sum(1))
    np.testing.assert_array_equal(s.eigenvalues[4:], 0.0)
    np.testing.assert_array_equal(s.target[4:], 0.0)
    assert len(s.eigenvalues) == 9 and s.eigenvalues[3] > 0 and np.all(np.isfinite(s.target))
    assert s.power == pytest.approx(np.mean(X.sum(1)**2))
    lam = np.linalg.eigvalsh(X.T @ X / 4)
    assert Spectrum(np.append(lam[1:], -1.5e-15), np.ones(9)).eigenvalues.min() == 0.0
    assert Spectrum(np.array([1.0, -5e-6], "f4"), [1.0, 1.0]).eigenvalues[1] == 0.0
    with pytest.raises(ValueError, match=r"eigenvalues must be at least 0, got -1e-06: a covariance has none below zero but by"):
        Spectrum([1.0, -1e-6], [1.0, 1.0])


def test_bins_of_a_spectrum_say_their_error():
    s = power_law(2000, 1.5, 0.5)
    settings = dict(n_steps=40, n_hidden=2, gamma0=1.0, learning_rate=0.1)
    errors = []
    for ratio in (2.0, 1.4, 1.1):
        bins = s.binned(ratio=ratio, n_exact=5)
        assert bins.n_inputs == 2000 and bins.power == pytest.approx(s.power)
        np.testing.assert_allclose(np.sum(bins.multiplicity * bins.target), np.sum(s.target))
        np.testing.assert_array_equal(bins.eigenvalues[:5], s.eigenvalues[:5])
        errors.append(bins.binning_error)
    assert errors[2] < 0.002 < 0.02 < errors[0] and len(bins.eigenvalues) < 100 and s.binning_error == 0.0
    np.testing.assert_allclose(solve_dmft(bins, **settings).test_loss,
                               solve_dmft(s.binned(ratio=1.01), **settings).test_loss, rtol=0.002)
    assert bins.binned(ratio=3.0).binning_error > 0.01


def test_bins_put_alike_modes_and_those_without_variance_together():
    s = Spectrum([0.0, 2.0, 0.0, 1.0, 2.0, 0.0], [9.0, 1.0, 9.0, 3.0, 2.0, 9.0], [1.0, 1.0, 2.0, 1.0, 3.0, 1.0]).binned(n_exact=0)
    np.testing.assert_allclose(s.eigenvalues, [2.0, 1.0, 0.0])
    np.testing.assert_allclose(s.multiplicity, [4.0, 1.0, 4.0])
    np.testing.assert_allclose(s.target, [7 / 4, 3.0, 9.0])
    assert s.binning_error < 1e-12
    empty = Spectrum([0.0, 0.0], [1.0, 1.0]).binned(n_exact=0)
    assert len(empty.eigenvalues) == 1 and empty.n_inputs == 2 and empty.binning_error == 0.0


@pytest.mark.parametrize("call, message", [
    (lambda: Spectrum.from_data(np.ones((3, 2)), [1.0, 2.0]), "y must hold one number \\(or a row of them\\) for each row"),
    (lambda: Spectrum.from_data(np.empty((0, 2)), []), "X must not be empty"),
    (lambda: Spectrum.from_data([1.0, 2.0], [1.0, 2.0]), "X must be a matrix"),
    (lambda: Spectrum.from_data(np.ma.masked_array(np.ones((2, 2))), [1.0, 2.0]), "X must not be masked"),
    (lambda: isotropic(2).binned(ratio=1.0), "ratio must be greater than 1"),
    (lambda: isotropic(2).binned(n_exact=-1), "n_exact must be an integer of at least 0"),
])
def test_bad_data_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_where_nothing_can_be_learned_every_learning_rate_is_stable():
    assert dmft.stability_edge(Spectrum([0.0, 0.0], [1.0, 1.0]), 1) == np.inf
    assert dmft.stability_edge(isotropic(3), 2, branch_scale=0.0) == np.inf


def test_a_simulation_says_what_memory_it_needs():
    with pytest.raises(ValueError, match=r"width = 2000000 needs .* GB and .* GB are free: it grows with width, n_hidden, mode"):
        simulate(isotropic(10), n_steps=2, n_hidden=2, width=2_000_000, gamma0=1.0, learning_rate=0.1, rng=0)
    with pytest.raises(ValueError, match=r"width = 2 needs .* modes \(1e\+12\)"):
        simulate(isotropic(10**12), n_steps=2, n_hidden=1, width=2, gamma0=1.0, learning_rate=0.1, rng=0)
