"""Algebra of matrices over two times that are filled row by row, or several rows at once: ``rows`` is their slice, all before
it is final."""

from __future__ import annotations

import numpy as np

#: How many earlier iterates the acceleration combines.
HISTORY = 8


def _mirror(C, rows, block):
    """Rows of a symmetric matrix up to the end of their block, and with them the columns."""
    C[..., rows, :rows.stop] = block
    C[..., :rows.stop, rows] = block.swapaxes(-1, -2)


def _panels(n):
    """Cuts of a triangular matrix, so that products leave out most of its zeros."""
    edges = range(0, n, -(-n // 3))
    return zip(edges, [*edges[1:], n])


def _times_lower(Y, Z, out=None):
    """``Y Z`` for a causal, that is lower triangular, Z."""
    n = Z.shape[-1]
    if n <= 128:
        return np.matmul(Y, Z, out=out)
    if out is None:
        out = np.empty(np.broadcast_shapes(Y.shape[:-2], Z.shape[:-2]) + Y.shape[-2:])
    for k, end in _panels(n):
        np.matmul(Y[..., k:], Z[..., k:, k:end], out=out[..., k:end])
    return out


def _resolvent(R, rows, X):
    """Rows of ``R = 1 + X R = (1 - X)^-1`` for a causal X whose rows are given."""
    past, inside = slice(rows.start), X[..., rows]
    size = rows.stop - rows.start
    inside = 1 / (1 - inside) if size == 1 else np.tril(np.linalg.inv(np.eye(size) - inside))
    np.matmul(inside, _times_lower(X[..., past], R[..., past, past]), out=R[..., rows, past])
    R[..., rows, rows] = inside


def _answer(rows, Q, Q_other, R_other, S_other, R, S, implicit):
    """Rows of the responses of a field ``h = a + Q g``, ``g = b + Q_other h``: ``R = (1 - Q Q_other)^-1`` and ``S = R Q``.

    Without a diagonal, ``R = 1 + Q S_other`` and ``S = Q R_other`` save a product and a system of equations.
    """
    now, t = slice(rows.stop), np.arange(rows.start, rows.stop)
    if implicit:                                           # own rows of the other field are guesses: solve for both
        _resolvent(R, rows, _times_lower(Q[rows, now], Q_other[now, now]))
        _times_lower(R[rows, now], Q[now, now], out=S[rows, now])
        return
    _times_lower(Q[rows, now], S_other[now, now], out=R[rows, now])
    R[t, t] += 1.0
    _times_lower(Q[rows, now], R_other[now, now], out=S[rows, now])


def _sandwich(R, C, rows):
    """Rows of ``R C R'`` for a causal R and a symmetric C."""
    n = rows.stop
    half = R[..., rows, :n] @ C[..., :n, :n]
    if n <= 128:
        return half @ R[..., :n, :n].swapaxes(-1, -2)
    block = np.empty_like(half)
    for k, end in _panels(n):
        np.matmul(half[..., :end], R[..., k:end, :end].swapaxes(-1, -2), out=block[..., k:end])
    return block


def _correlate(rows, R, C_a, S, C_b, C):
    """Rows of the correlation C of a field ``R a + S b``, a and b independent; returns them."""
    block = _sandwich(R, C_a, rows)
    block += _sandwich(S, C_b, rows)
    _mirror(C, rows, block)
    return block


def _field(rows, Q_h, C_a, Q_g, C_b, R, S, C):
    """Rows of all of a field ``h = a + Q_h (b + Q_g h) = R a + S b`` in one layer; returns those of its correlation."""
    now = slice(rows.stop)
    _resolvent(R, rows, _times_lower(Q_h[rows, now], Q_g[now, now]))
    _times_lower(R[rows, now], Q_h[now, now], out=S[rows, now])
    return _correlate(rows, R, C_a, S, C_b, C)


class _Anderson:
    """Anderson's acceleration of ``x = g(x)``: the next iterate from the last few, by least squares."""

    def __init__(self):
        self.points, self.defects = [], []

    def __call__(self, x, defect):
        self.points, self.defects = [*self.points[-HISTORY:], x], [*self.defects[-HISTORY:], defect]
        if len(self.points) == 1:
            return x + defect
        moves, changes = np.diff(self.points, axis=0), np.diff(self.defects, axis=0)
        return x + defect - np.linalg.lstsq(changes.T, defect, rcond=1e-14)[0] @ (moves + changes)
