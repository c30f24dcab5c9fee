"""Tasks made from a seed: trees of features, low-rank maps, one-hot labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import generator, integer, number
from ._validation import labels as checked_labels

__all__ = ["hierarchical_dataset", "hierarchical_singular_values", "low_rank_task", "one_hot"]

FLIP = "beyond 1/2 a child would resemble the opposite"


def hierarchical_dataset(levels: int = 5, flip: float = 0.1, n_features: int = 1000, branching: int = 2, *,
                         rng: np.random.Generator | int) -> NDArray[np.float64]:
    """Features of the leaves of a tree: each child copies its parent and flips every feature with probability ``flip``.

    Parameters
    ----------
    levels : int
        Number of branchings between the root and the leaves.
    flip : float
        Probability of a flip at each branching, between 0 and 1/2.
    n_features : int
        Independent features, each +1 or -1 with equal probability at the root.
    branching : int
        Children of every node.
    rng : numpy.random.Generator or int
        Generator or seed.

    Returns
    -------
    ndarray, shape (n_features, branching**levels)
        One column a leaf, neighbours in the tree side by side. With one-hot inputs it is the correlation
        ``Sigma31`` summed over samples.

    Raises
    ------
    ValueError
        ``flip`` outside [0, 1/2], or a size that is not a positive integer.

    Notes
    -----
    Source: Saxe et al. 2013, figure 3; the details it leaves open are on the book's page of differences.

    Examples
    --------
    >>> from dlnutils.tasks import hierarchical_dataset
    >>> hierarchical_dataset(2, 0.0, 3, rng=0).shape
    (3, 4)
    """
    levels, n_features = integer("levels", levels, at_least=0), integer("n_features", n_features)
    branching, rng = integer("branching", branching, at_least=2), generator(rng)
    flip = number("flip", flip, at_least=0.0, at_most=0.5, hint=FLIP)
    nodes = rng.choice([-1.0, 1.0], size=(n_features, 1))
    for _ in range(levels):
        nodes = np.repeat(nodes, branching, axis=1)
        nodes = nodes * np.where(rng.random(nodes.shape) < flip, -1.0, 1.0)
    return nodes


def hierarchical_singular_values(levels: int = 5, flip: float = 0.1,
                                 n_features: int = 1000) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Singular values of the binary :func:`hierarchical_dataset` for infinitely many features, root first.

    Parameters
    ----------
    levels, flip, n_features
        As in :func:`hierarchical_dataset`; ``n_features`` only sets the scale.

    Returns
    -------
    (values, multiplicities) : tuple of ndarray, shape (levels + 1,)

    Raises
    ------
    ValueError
        ``flip`` outside [0, 1/2], or a size that is not a positive integer.

    Notes
    -----
    The eigenvectors are the wavelets of the tree. Derived for Saxe et al. 2013, figure 3.

    Examples
    --------
    >>> from dlnutils.tasks import hierarchical_singular_values
    >>> values, multiplicities = hierarchical_singular_values()
    >>> values.round(2), multiplicities
    (array([81.04, 55.96, 46.54, 37.56, 28.65, 18.97]), array([ 1,  1,  2,  4,  8, 16]))
    """
    levels, n_features = integer("levels", levels, at_least=1), integer("n_features", n_features)
    flip = number("flip", flip, at_least=0.0, at_most=0.5, hint=FLIP)
    height = np.arange(levels, 0, -1)                      # of the branching that a wavelet contrasts
    similarity = (1 - 2 * flip)**(2 * np.arange(levels + 1))
    below = 1 + np.concatenate([[0.0], np.cumsum(2.0**np.arange(levels) * similarity[1:])])
    squares = np.concatenate([[below[levels]], below[height - 1] - 2.0**(height - 1) * similarity[height]])
    return np.sqrt(n_features * squares), np.concatenate([[1], 2**np.arange(levels)])


def low_rank_task(n_inputs: int, k: int, *, noise: float = 1.0, n_outputs: int | None = None,
                  rng: np.random.Generator | int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A random map of rank ``k`` to learn, and the noise that hides it.

    Parameters
    ----------
    n_inputs : int
    k : int
        Rank, at most ``n_inputs`` and ``n_outputs``.
    noise : float
        Standard deviation of the noise, at least 0.
    n_outputs : int, optional
        As many as inputs unless it says otherwise.
    rng : numpy.random.Generator or int
        Generator or seed; draws ``C``, ``D`` and the noise, in this order.

    Returns
    -------
    A_star, E : ndarray, shape (n_outputs, n_inputs)
        ``A_star = C @ D.T / sqrt(k)`` has entries of mean square 1 and singular values near
        ``sqrt(n_outputs n_inputs / k)``; ``E`` has independent normal entries. The network sees ``A_star + E``.

    Raises
    ------
    ValueError
        Sizes that are not positive integers, ``k`` above one of them, ``noise`` negative.

    Notes
    -----
    Source: Tu et al. 2024, the task of both figures (as many outputs as inputs, ``k = 5``, ``noise = 1``).

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.tasks import low_rank_task
    >>> A_star, E = low_rank_task(50, 5, rng=0)
    >>> A_star.shape, int(np.linalg.matrix_rank(A_star))
    ((50, 50), 5)
    """
    d, k = integer("n_inputs", n_inputs), integer("k", k)
    q = d if n_outputs is None else integer("n_outputs", n_outputs)
    noise, rng = number("noise", noise, at_least=0.0), generator(rng)
    if k > min(d, q):
        raise ValueError(f"k must be at most {min(d, q)}, got {k}: the rank cannot exceed the sizes")
    C, D = rng.standard_normal((q, k)), rng.standard_normal((d, k))
    return C @ D.T / k**0.5, noise * rng.standard_normal((q, d))


def one_hot(labels: ArrayLike, n_classes: int = 10) -> NDArray[np.float64]:
    """Rows of the identity: ``labels`` of shape (n,) become (n, n_classes).

    Raises
    ------
    ValueError
        Labels that are not a vector of integers in ``0 .. n_classes - 1``.

    Examples
    --------
    >>> from dlnutils.tasks import one_hot
    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    n_classes = integer("n_classes", n_classes)
    return np.eye(n_classes)[checked_labels("labels", labels, n_classes).astype(int)]
