"""Tasks made from a seed: the hierarchical world against its population, low-rank maps, one-hot labels."""

import numpy as np
import pytest

from dlnutils import tasks

pytestmark = pytest.mark.filterwarnings("error")


# --- hierarchical diffusion -----------------------------------------------------------------------------------------

def leaf_similarity(levels, flip, branching=2):
    """Covariance of the leaves' features: (1 - 2 flip)^2 for every level below the nearest common ancestor."""
    leaves = np.arange(branching**levels)
    height = sum(leaves[:, None] // branching**k != leaves // branching**k for k in range(levels))
    return (1 - 2 * flip)**(2 * height)


@pytest.mark.parametrize("levels, branching", [(0, 2), (1, 2), (5, 2), (3, 3)])
def test_hierarchical_dataset_holds_signs(levels, branching):
    Y = tasks.hierarchical_dataset(levels, 0.1, 200, branching, rng=np.random.default_rng(0))
    assert Y.shape == (200, branching**levels) and set(np.unique(Y)) == {-1.0, 1.0}
    again = tasks.hierarchical_dataset(levels, 0.1, 200, branching, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(Y, again)
    assert np.linalg.norm(Y)**2 == pytest.approx(Y.size)   # sum of squared singular values


@pytest.mark.parametrize("levels, flip, branching", [(5, 0.1, 2), (3, 0.3, 2), (3, 0.05, 3)])
def test_hierarchical_dataset_has_the_population_covariance(levels, flip, branching):
    Y = tasks.hierarchical_dataset(levels, flip, 50_000, branching, rng=np.random.default_rng(1))
    np.testing.assert_allclose(Y @ np.ones(branching**levels) @ np.ones(50_000) / Y.size, 0, atol=0.02)
    np.testing.assert_allclose(Y.T @ Y / 50_000, leaf_similarity(levels, flip, branching), atol=5 / 50_000**0.5)


@pytest.mark.parametrize("levels", [1, 2, 5, 7])
@pytest.mark.parametrize("flip", [0.0, 1e-9, 0.02, 0.1, 0.37, 0.5])
def test_population_singular_values_are_those_of_the_covariance(levels, flip):
    values, multiplicities = tasks.hierarchical_singular_values(levels, flip, 1000)
    assert multiplicities.tolist() == [1] + [2**k for k in range(levels)]
    assert multiplicities.sum() == 2**levels and np.all(np.diff(values) <= 0)
    assert multiplicities @ values**2 == pytest.approx(1000 * 2**levels, rel=1e-13)
    eigenvalues = np.linalg.eigvalsh(leaf_similarity(levels, flip))[::-1]
    np.testing.assert_allclose(np.repeat(values, multiplicities)**2, 1000 * eigenvalues, rtol=1e-10, atol=1e-9)


def test_population_singular_values_against_draws():
    """Repulsion spreads the equal values of a level, so compare the root mean square of each."""
    values, multiplicities = tasks.hierarchical_singular_values()
    rng = np.random.default_rng(2)
    draws = np.array([np.linalg.svd(tasks.hierarchical_dataset(rng=rng), compute_uv=False) for _ in range(60)])
    levels = np.split((draws**2).mean(0), np.cumsum(multiplicities)[:-1])
    np.testing.assert_allclose([level.mean()**0.5 for level in levels], values, rtol=0.015)


def test_flip_limits():
    Y = tasks.hierarchical_dataset(4, 0.0, 50, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(Y, Y[:, :1] * np.ones(16))               # nothing ever flips
    np.testing.assert_allclose(tasks.hierarchical_singular_values(4, 0.0, 50)[0], [800**0.5, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(tasks.hierarchical_singular_values(4, 0.5, 50)[0], 50**0.5, rtol=1e-13)   # white


@pytest.mark.parametrize("function", [lambda **k: tasks.hierarchical_dataset(rng=np.random.default_rng(0), **k),
                                      tasks.hierarchical_singular_values])
@pytest.mark.parametrize("name, value", [("flip", -0.01), ("flip", 0.51), ("flip", np.nan), ("levels", -1), ("levels", 2.5),
                                         ("n_features", 0), ("n_features", "many")])
def test_bad_tree_is_named(function, name, value):
    with pytest.raises(ValueError, match=rf"^{name} .*{value}"):
        function(**{name: value})


def test_bad_branching_is_named():
    with pytest.raises(ValueError, match="branching .* 1"):
        tasks.hierarchical_dataset(branching=1, rng=np.random.default_rng(0))


# --- low-rank maps --------------------------------------------------------------------------------------------------

def test_low_rank_task():
    A_star, E = tasks.low_rank_task(300, 5, rng=0)
    assert np.linalg.matrix_rank(A_star) == 5 and A_star.shape == E.shape == (300, 300)
    assert np.mean(A_star**2) == pytest.approx(1, abs=0.15) and np.mean(E**2) == pytest.approx(1, abs=0.02)
    rng = np.random.default_rng(0)                                             # the order of the draws is part of the contract
    C, D = rng.standard_normal((300, 5)), rng.standard_normal((300, 5))
    np.testing.assert_allclose(A_star, C @ D.T / 5**0.5, atol=1e-13)
    np.testing.assert_array_equal(E, rng.standard_normal((300, 300)))
    wide, noise = tasks.low_rank_task(7, 2, noise=0.0, n_outputs=4, rng=1)
    assert wide.shape == noise.shape == (4, 7) and not noise.any()


@pytest.mark.parametrize("options, message", [
    ({"k": 4}, "k must be at most 3, got 4"), ({"noise": -1.0}, "noise must be at least 0"),
    ({"noise": [1.0, 2.0]}, "noise must be one number"), ({"n_inputs": 2.5}, "n_inputs .* 2.5"),
    ({"n_outputs": 0}, "n_outputs .* 0"), ({"rng": "x"}, "rng must be .* 'x'")])
def test_bad_map_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        tasks.low_rank_task(**{"n_inputs": 3, "k": 2, "rng": 0} | options)


def test_a_seed_is_a_generator():
    np.testing.assert_array_equal(tasks.hierarchical_dataset(3, 0.2, 9, rng=4),
                                  tasks.hierarchical_dataset(3, 0.2, 9, rng=np.random.default_rng(4)))


# --- one-hot --------------------------------------------------------------------------------------------------------

def test_one_hot():
    labels = np.array([3, 0, 0, 9])
    rows = tasks.one_hot(labels)
    assert rows.shape == (4, 10) and rows.argmax(1).tolist() == labels.tolist() and rows.sum() == 4 and rows.max() == 1
    assert tasks.one_hot(np.array([], dtype=int), 3).shape == (0, 3)


@pytest.mark.parametrize("labels, shown", [([0, 3], "3"), ([-1, 0], "-1"), ([0.0, 1.0], "float"), ([True], "bool"),
                                           (["1"], "U1"), ([[0], [1]], r"shape \(2, 1\): pass a vector"), (1, "sample, got 1"),
                                           ([[0], [0, 1]], "lists of one length"),
                                           (np.ma.masked_equal([0, 1], 1), "masked array")])
def test_one_hot_refuses_what_is_no_label(labels, shown):
    with pytest.raises(ValueError, match=rf"labels .*from 0 to 2.*{shown}"):
        tasks.one_hot(labels, 3)
