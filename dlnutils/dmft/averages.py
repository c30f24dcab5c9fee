"""Losses of averaged weights, which do not act back on training: one pass down the layers after the solution.

The names are those of `solver`; "bar" is what averaged weights ``W_avg_l(t) = e_l(t) W_l(0) + sum_s ke_l(t, s) G_l(s)`` do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._rows import _times_lower
from ._weights import _Weights
from .optimizers import Memory

__all__ = ["averaged_losses"]


def averaged_losses(layers: Any, memory: Memory, end: int) -> dict[str, np.ndarray]:
    """Losses of the average that an optimizer keeps, of the first ``end`` times; infinite from there on."""
    assert memory.average is not None
    data, C = layers.data, layers.C
    T, n = len(data.test), end * C
    averages = _Weights(data.parameters, layers.weights.optimizer, C, memory=Memory(*memory.average, None))
    Q, C_g, S, C_gg = _down(layers, averages, n)
    test, train = _losses(data, averages, Q, C_g, S, C_gg, n)
    losses = {"average_test_loss": np.full(T, np.inf), "average_train_loss": np.full(T, np.inf)}
    losses["average_test_loss"][:end], losses["average_train_loss"][:end] = test, train
    return losses


def _start(weights, layer, n):
    d = weights.start[layer]
    return np.ones(n) if d is None else d[:n]


def _down(layers, averages, n):
    """Down through the layers: the memory of the error at the first layer, and its correlations bar-train and bar-bar."""
    W, now, C = layers.weights, slice(n), layers.C
    e, d, each = _start(averages, -1, n), _start(W, -1, n), np.tile(np.eye(C), (n // C, n // C))
    if W.changes:                                          # clipped gradients are clipped in the average as well
        _clip(averages, W, C)
    Q, C_bb, C_bt = averages.pull[-1][now, now], np.outer(e, e) * each, np.outer(e, d) * each
    for i in reversed(range(len(layers.Q_g))):
        R_h, R_g, S_h, S_g, C_a, C_b = (x[i, now, now] for x in (layers.R_h, layers.R_g, layers.S_h, layers.S_g, layers.C_a,
                                                                  layers.C_b))
        # g_bar = b_bar + Q_bar h,  h = R_h a + S_h b
        X, Sb = Q @ S_h, Q @ R_h
        C_gt = (C_bt + X @ C_b) @ R_g.T + Sb @ C_a @ S_g.T
        half = X @ C_bt.T
        C_gg = C_bb + half + half.T + Q @ layers.C_h[i + 1, now, now] @ Q.T
        if i == 0:
            return Q, C_gt, Sb, C_gg
        e, d, scale = _start(averages, i, n), _start(W, i, n), W.down[i]
        across, inside = np.outer(e, d), np.outer(e, e)
        below = (scale * (across * Sb + averages.pull[i][now, now] * C_gt), scale * inside * C_gg, scale * across * C_gt)
        if layers.skip:
            A, J, own = layers.A_h[i, now, now], layers.E_g[i, now, now], layers.Q_g[i, now, now]
            Y = Q + Q @ A @ J @ own                        # Q_bar (1 - A_h Q_g)^-1
            U, YA = W.up[i] * np.outer(d, d) * layers.C_h[i, now, now], Y @ A
            half = YA @ C_bt.T
            below = (below[0] + Y, below[1] + C_bb + half + half.T + Y @ (U + A @ C_b @ A.T) @ Y.T,
                     below[2] + (C_bt + YA @ C_b) @ J.T + Y @ U @ (J @ own).T)
        Q, C_bb, C_bt = below
    raise AssertionError("a network has a hidden layer")


def _clip(averages, W, C):
    """Put into an average what clipping did to the memory of training, column by column."""
    whole = _Weights(W.parameters, W.optimizer, C)
    for k, pull, cut, full in zip(averages.gradients, averages.pull, W.gradients, whole.gradients):
        moved = np.abs(full).sum(0)
        factor = np.divide(np.abs(cut).sum(0), moved, where=moved > 0, out=np.ones(len(moved)))
        k *= factor
        pull *= factor


def _losses(data, averages, Q, C_gt, S, C_gg, n):
    """Test and train loss of the averaged weights."""
    W, p, C, now = data.weights, data.parameters, data.n_outputs, slice(n)
    e, d = _start(averages, 0, n), _start(W, 0, n)
    M, M_train = W.share * (np.outer(e, d) * S / p["gamma0"] + averages.gradients[0][now, now] * C_gt), data.M[now, now]
    # Correlations of the random maps r_bar and r, divided by (gamma0^2 N).
    unit = W.share / (W.width * p["gamma0"]**2)
    bb, bt, tt = unit * np.outer(e, e) * C_gg, unit * np.outer(e, d) * C_gt, data.C_start[now, now]
    if p["centered"]:                                      # r(0) is taken off both
        zero, first = np.tile(np.eye(C), (n // C, 1)), data.first[:n]      # puts the outputs of time 0 at every time
        b0, t0, o = bt[:, :C] @ zero.T, zero @ first.T, zero @ first[:C] @ zero.T
        bb, bt = bb - b0 - b0.T + o, bt - b0 - t0 + o
    C_bb = C_bu = data.disturbance if C == 1 else data.disturbance[now, now]
    X = 0.0
    for k, (lam, size) in enumerate(zip(data.eigenvalues[:, 0, 0], (data.count * data.eigenvalues)[:, 0, 0])):
        R_v, R_0, S_0 = (x[k, now, now] for x in (data.R_v, data.R_0, data.S_0))
        noise = lam / data.per * data.C_delta[now, now] if data.source != "population" else np.zeros((n, n))
        if data.fourth is not None:
            noise = noise + data.fourth[k, now, now]
        # v_bar = a w - r_bar + G r - H xi and v = m_v w - R_v (r + M xi)
        a, G, H = np.tile(np.eye(C), (n // C, 1)) - M @ data.m_0[k, now], M @ S_0, M @ R_0
        half = G @ bt.T
        C_bb = C_bb + size * (a @ data.target[k] @ a.T + bb - half - half.T + G @ tt @ G.T + H @ noise @ H.T)
        C_bu = C_bu + size * (a @ data.target[k] @ data.m_v[k, now].T + (bt - G @ tt) @ R_v.T
                              + H @ noise @ _times_lower(R_v, M_train).T)
        X = X + size * H
    test = data.diagonal(slice(None), np.diagonal(C_bb))
    return test, _train(data, X, C_bb, C_bu, n) if data.source in ("samples", "batches") else test


def _train(data, X, C_bb, C_bu, n):
    """Loss on all samples: errors ``u_bar - Z u``, where Z answers earlier errors through the gradients."""
    now, R, V = slice(n), data.R_delta[:n, :n], data.C_test[:n, :n]

    def left(Z, noise=0.0):
        return data.diagonal(slice(None), np.diagonal(C_bb - Z @ C_bu.T - C_bu @ Z.T + Z @ (V + noise) @ Z.T))
    if data.source == "samples":
        return left(X @ R / data.per)
    again = data.again
    if again.S is not None:
        return left(X @ R / again.samples, again.S[now, now])
    return sum(share * left(X * np.repeat(own, data.n_outputs)[now] @ R) for share, own in again.groups)
