"""One trial of the perceptron as Hajjar et al. ran them: images, calibration, training, and the numbers that are kept of it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .datasets import cifar10, mnist
from .parameterizations import parameterization
from .perceptron import MLP, accuracy, calibrate, draw, ranks, train

__all__ = ["DATA", "trial"]

#: Mean and standard deviation of the pixels of a data set, as the public code has them.
DATA = {"mnist": (0.1307, 0.3081), "cifar10": (0.4809, 0.2392)}


@functools.lru_cache(maxsize=1)
def _images(data: str) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    mean, spread = DATA[data]
    parts: list[Any] = []
    for split in ("train", "test"):
        images, labels = mnist("full", split=split) if data == "mnist" else cifar10(split)
        images -= mean
        images /= spread
        parts += [images.astype(np.float32), labels]
    return tuple(parts)                                    # pyright: ignore[reportReturnType]


def trial(data: str, model: str, activation: str, seed: list[int], *, n_steps: int, n_hidden: int, width: int, batch_size: int,
          learning_rate: float, n_rank_images: int, every: int) -> dict[str, Any]:
    """Train one network and keep what the paper draws of it, without its weights.

    Parameters
    ----------
    data : {'mnist', 'cifar10'}
        The full set, of grey images.
    model, activation : str
        Keys of `parameterizations.MODELS` and `perceptron.ACTIVATIONS`.
    seed : list of int
        Of the draws and of the order of the images, which models of one seed share.
    n_steps, n_hidden, width, batch_size : int
    learning_rate : float
        Base rate; ``'ipllr'`` is calibrated on its first two batches.
    n_rank_images : int
        Images of the training set whose fields' ranks are taken after the first step; 0 for none.
    every : int
        Curves keep one step of so many.

    Returns
    -------
    dict
        ``loss``, ``output``: of the training batch before step 0, every, ..., and the mean absolute output there. ``first_loss``,
        ``first_output``: of the first ten steps. ``last_loss``, ``last_output``: means over the last twenty.
        ``accuracy``, ``accuracy_by_outputs``: on all test images, by probabilities and by outputs. ``predicted``: how many of
        them got each label. ``base_rates``: of the first step. ``rank_h``, ``rank_x``: of every hidden layer. ``diverged_at``:
        the step, or -1.

    Notes
    -----
    Source: Hajjar, Chizat & Giraud, JMLR 25(196), 2024, section 6, and their public code.
    """
    X, y, X_test, y_test = _images(data)
    draw_seed, order_seed = np.random.SeedSequence(seed).spawn(2)
    abc = parameterization(model, n_hidden)
    draws = draw(n_hidden, width, X.shape[1], 10, activation, mean=abc.mean, all_biases=abc.c_bias is not None,
                 rng=np.random.default_rng(draw_seed))
    rates: Any = learning_rate
    if model == "ipllr":                                   # the order that train draws
        first, second = np.random.default_rng(order_seed).permutation(len(y))[:2 * batch_size].reshape(2, -1)
        rates = calibrate(MLP(abc, *draws, activation, learning_rate), X[first], y[first], X[second])
    net, sizes, found = MLP(abc, *draws, activation, rates), [], {}

    def look(t: int, net: MLP) -> None:
        sizes.append(net.last_output)
        if t == 1 and n_rank_images:
            for i, h in enumerate(net.fields(X[:n_rank_images])[:-1]):
                x = np.empty_like(h)
                net.activations[i].apply(h, x)
                for name, fields in (("rank_h", h), ("rank_x", x)):
                    found.setdefault(name, []).append(ranks(fields)[0])

    losses = train(net, X, y, batch_size=batch_size, n_steps=n_steps, callback=look, rng=np.random.default_rng(order_seed))
    output = np.full(n_steps, np.inf)
    output[:len(sizes)] = sizes
    f = net.forward(X_test)
    f = np.exp(f - f.max(axis=1, keepdims=True))
    f /= f.sum(axis=1, keepdims=True)
    return found | {
        "loss": losses[::every], "output": output[::every], "first_loss": losses[:10], "first_output": output[:10],
        "last_loss": losses[-20:].mean(), "last_output": output[-20:].mean(),
        "accuracy": accuracy(net, X_test, y_test, by="probabilities"), "accuracy_by_outputs": accuracy(net, X_test, y_test),
        "predicted": np.bincount(f.argmax(axis=1), minlength=10), "base_rates": net.first_rates,
        "diverged_at": -1 if net.diverged_at is None else net.diverged_at}
