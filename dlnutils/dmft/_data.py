"""The data block: what happens between the lowest hidden layer and the data, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._batches import _Batches
from ._rows import _mirror, _resolvent, _sandwich, _times_lower
from ._weights import _Weights
from .solution import CEILING
from .spectrum import Spectrum


class _Data:
    """What happens between the lowest hidden layer and the data, row by row: the error along each mode, and the signal.

    Along a mode ``v = R_v (s - M xi)`` is left to learn and the signal is ``h_0 = S_0 s + R_0 xi``, with the noise ``xi`` of the
    training set (or batch) and what there is to learn at the start, ``s``: the target less the random initial map. Rows are pairs
    (time, output), C of them a time; ``rows`` are those of one time, or of several where there is one output.
    """

    def __init__(self, spectrum: Spectrum, parameters: dict[str, Any], weights: _Weights):
        C, K = weights.n_outputs, len(spectrum.eigenvalues)
        T = parameters["n_steps"] + 1
        n = T * C
        self.spectrum, self.parameters, self.weights, self.n_outputs = spectrum, parameters, weights, C
        self.eigenvalues, self.count = (x[:, None, None] for x in (spectrum.eigenvalues, spectrum.multiplicity))
        self.target = spectrum.target.reshape(K, C, C)
        samples, batch = parameters["n_samples"], parameters["batch_size"]
        self.source = ("population" if samples is None and batch is None else "online" if samples is None else
                       "samples" if batch is None else "batches")
        self.echo = self.source in ("samples", "batches")  # without one R_delta = 1, so that R_0 = R_v and S_0 = lambda R_v
        self.R_v, self.S_0 = (np.zeros((K, n, n)) for _ in range(2))
        self.R_0 = np.zeros((K, n, n)) if self.echo else self.R_v
        self.m_v, self.m_0 = np.zeros((K, n, C)), np.zeros((K, n, C))      # R_v 1 and S_0 1: means, for a target of one
        self.C_drive = np.zeros((K, n, n))                 # of what drives v but the target: random start, noise of the data
        self.M, self.R_delta, self.C_delta, self.C_test, self.C_start = (np.zeros((n, n)) for _ in range(5))
        self.matrices = (self.R_v, self.R_0, self.S_0, self.C_drive, self.M, self.R_delta, self.C_delta, self.C_test,
                         self.C_start)
        self.first = np.zeros((n, C))                      # correlation of the random map with that of the start
        self.one, self.noise2 = np.eye(n), parameters["noise"]**2
        # Independent noise on each output, the same at all times: sigma^2 (1 1') x I.
        self.disturbance = self.noise2 if C == 1 else self.noise2 * np.kron(np.ones((T, T)), np.eye(C))
        self.test, self.train, self.mode_loss = np.full(T, np.inf), np.full(T, np.inf), np.full((K, T), np.inf)
        self.again = _Batches(T, C, samples, batch, parameters["sampling"]) if self.source == "batches" else None
        #: How often noise of the training set or batch is counted: ``C_delta`` holds it, divided by this.
        self.per: Any = {"samples": samples, "online": batch}.get(self.source, 1.0)
        self.fourth = np.zeros((K, n, n)) if parameters["batch_fourth_moment"] else None
        self.implicit = False                              # whether M has a diagonal: see `long_runs`

    def diagonal(self, rows, values):
        """Sums over the outputs of each time, of diagonal entries."""
        return values.reshape(*values.shape[:-1], -1, self.n_outputs).sum(-1) if self.n_outputs > 1 else values

    def summed(self, field):
        """Sums over times of the columns, for each output: a field times 1."""
        C = self.n_outputs
        if C == 1:
            return field.sum(-1, keepdims=True)
        return field.reshape(*field.shape[:-1], -1, C).sum(-2)

    def errors(self, rows, S_g, C_g) -> bool:
        """Rows of everything up to the losses; False if they diverge."""
        p, weights, C, now = self.parameters, self.weights, self.n_outputs, slice(rows.stop)
        lam, count, M, R_delta, R_v = self.eigenvalues, self.count, self.M, self.R_delta, self.R_v
        i, times = np.arange(rows.start, rows.stop), slice(rows.start // C, rows.stop // C)
        # M = d d' o S_g / gamma0 + k o C_g,  R_v = (1 + lambda M R_delta)^-1
        M[rows, now] = weights.drawn(0, rows, S_g[rows, now]) / p["gamma0"] + weights.gradients[0][rows, now] * C_g[rows, now]
        if weights.share != 1:
            M[rows, now] *= weights.share
        start = self.started(rows, weights.drawn(0, rows, C_g[rows, now]) / (weights.width * p["gamma0"]**2 / weights.share))
        if self.implicit and self.source == "samples":
            self.answer(rows.start)
        _resolvent(R_v, rows, -lam * (_times_lower(M[rows, now], R_delta[now, now]) if self.echo else M[rows, now]))
        if self.source == "samples":                       # R_delta = 1 - sum_k (1 - R_v) / P
            driven = _sandwich(M, self.C_delta, rows) / self.per
            R_delta[rows, now] = self.one[rows, now] - (count * (self.one[rows, now] - R_v[:, rows, now])).sum(0) / self.per
        elif self.again:                                   # X = sum_k lambda R_v M answers errors; M needs earlier rows alone
            driven = _sandwich(M, self.C_delta, rows)
            self.again.respond(rows, _times_lower((count * lam * R_v[:, rows, now]).sum(0), M[now, now]), R_delta)
        else:
            driven = self.fresh(rows, M, M) if self.source == "online" else 0.0
            R_delta[rows, rows] = np.eye(rows.stop - rows.start)
        _mirror(self.C_start, rows, start)
        drive = start + lam * driven
        if self.fourth is not None:                        # (lambda v)^2 / B, of each mode alone
            drive = drive + M[rows, now] @ self.fourth[:, now, now] @ M[now, now].T
        _mirror(self.C_drive, rows, drive)
        # C_v = m_v w w' m_v' + R_v C_drive R_v',  C_test = sum_k lambda C_v + sigma^2,  C_delta = R_delta C_test R_delta'
        self.m_v[:, rows] = self.summed(R_v[:, rows, now])
        C_v = self.mean(self.m_v, rows) + _sandwich(R_v, self.C_drive, rows)
        _mirror(self.C_test, rows, (count * lam * C_v).sum(0)
                + (self.noise2 if C == 1 else self.disturbance[rows, now]))
        along = C_v[:, i - rows.start, i]
        self.mode_loss[:, times] = (count * lam)[..., 0] * np.maximum(self.diagonal(rows, along), 0)
        test = self.diagonal(rows, self.C_test[i, i])
        if self.source == "samples":
            _mirror(self.C_delta, rows, _sandwich(R_delta, self.C_test, rows))
            train = self.diagonal(rows, self.C_delta[i, i])
        elif self.again:
            train = self.again.noise(rows, self.C_test, R_delta, self.C_delta)
        else:
            for block in (slice(t, t + C) for t in range(rows.start, rows.stop, C)):
                self.C_delta[block, block] = self.C_test[block, block]
                if self.fourth is not None:
                    own = C_v[:, block.start - rows.start:block.stop - rows.start, block]
                    self.fourth[:, block, block] = lam**2 * own / self.per
            train = test
        # Round-off may fall below zero.
        self.test[times], self.train[times] = np.maximum(test, C * self.noise2), np.maximum(train, 0.0)
        if (self.train[times] <= CEILING * self.train[0]).all():
            return True
        self.test[times.start:], self.train[times.start:], self.mode_loss[:, times.start:] = np.inf, np.inf, np.inf
        return False

    def answer(self, t):
        """Row t of R_delta where M has a diagonal, so that row t of R_v hangs on it: ``R_delta = 1 - sum_k (1 - R_v) / P``."""
        past, lam, count, m = slice(t), self.eigenvalues[:, 0, 0], self.count[:, 0, 0] / self.per, self.M[t, t]
        R, loss = 0.0, lam * m                             # R = 1 - sum_k lambda m R / (1 + lambda m R) / P on the diagonal
        for _ in range(100):                               # by Newton's method: from below, without overshooting
            move = (1 - R - count @ (loss * R / (1 + loss * R))) / (1 + count @ (loss / (1 + loss * R)**2))
            R += move
            if not abs(move) > 1e-13 * R:
                break
        # r = -(M_past R_delta + m r) B,  B = sum_k lambda R_v / (1 + lambda m R) / P: linear in what is left of the diagonal
        B = np.tensordot(count * lam / (1 + lam * m * R), self.R_v[:, past, past], 1)
        known = self.M[t, past] @ self.R_delta[past, past]
        self.R_delta[t, past] = -np.linalg.solve((np.eye(t) + m * B).T, known @ B)
        self.R_delta[t, t] = R

    def started(self, rows, start):
        """Rows of the correlation of the random map; centred, of its change since the start."""
        if not self.parameters["centered"]:
            return start
        # (r(t) - r(0)) (r(s) - r(0))'
        C, n = self.n_outputs, start.shape[1]
        self.first[rows] = start[:, :C]
        first = self.first[:n].reshape(-1, C, C)           # (time, output, output of the start)
        own, past = self.first[rows], np.concatenate(list(np.swapaxes(first, 1, 2)), axis=1)
        return start - np.tile(own, n // C) + np.tile(np.tile(first[0], n // C) - past, (len(own) // C, 1))

    def mean(self, m, rows):
        """Rows of ``m w w' m'``: of what the target itself does."""
        now = slice(rows.stop)
        if self.n_outputs == 1:
            return self.target * m[:, rows] * np.swapaxes(m[:, now], 1, 2)
        return m[:, rows] @ self.target @ np.swapaxes(m[:, now], 1, 2)

    def fresh(self, rows, left, right):
        """Rows of ``left C right' / B`` for the noise of fresh batches, which has no memory: blocks of one time alone."""
        now = slice(rows.stop)
        if self.n_outputs == 1:
            return (left[..., rows, now] * np.diagonal(self.C_delta)[now]) @ np.swapaxes(right[..., now, now], -1, -2) / self.per
        return left[..., rows, now] @ self.C_delta[now, now] @ np.swapaxes(right[..., now, now], -1, -2) / self.per

    def signal(self, rows, C_h0) -> np.ndarray:
        """Rows of the correlation of the input fields, into ``C_h0``; returns those of the first layer's ``Q_h``."""
        p, weights, now = self.parameters, self.weights, slice(rows.stop)
        lam, count, R_0, S_0 = self.eigenvalues, self.count, self.R_0, self.S_0
        # S_0 = lambda R_delta R_v,  R_0 = 1 - S_0 M
        if self.echo:
            S_0[:, rows, now] = lam * _times_lower(self.R_delta[rows, now], self.R_v[:, now, now])
            R_0[:, rows, now] = self.one[rows, now] - _times_lower(S_0[:, rows, now], self.M[now, now])
        else:
            S_0[:, rows, now] = lam * self.R_v[:, rows, now]
        # C_h0 = sum_k (m_0 w w' m_0' + S_0 C_start S_0' + lambda R_0 C_delta R_0' / P)
        self.m_0[:, rows] = self.summed(S_0[:, rows, now])
        block = (count * (self.mean(self.m_0, rows) + _sandwich(S_0, self.C_start, rows))).sum(0)
        if self.source in ("samples", "batches"):
            block += (count * lam * _sandwich(R_0, self.C_delta, rows)).sum(0) / self.per
        elif self.source == "online":
            block += (count * lam * self.fresh(rows, R_0, R_0)).sum(0)
            if self.fourth is not None:
                block += (count * _sandwich(R_0, self.fourth, rows)).sum(0)
        _mirror(C_h0, rows, block)
        # Q_h = gamma0 k o C_h0 - d d' o sum_k S_0 / (gamma0 N): the diagonal answers the error of the same moment.
        own = (count * S_0[:, rows, now]).sum(0)
        if p["centered"]:                                  # every error holds the random map of the start
            own[:, :self.n_outputs] -= self.summed(own)
        return weights.pull[0][rows, now] * block - weights.drawn(0, rows, own) / (weights.width * p["gamma0"])

    def parts(self) -> list[np.ndarray]:
        """Over times, of the excess loss: bias, the variance from the random start, and that from the data, which is the rest."""
        def total(weight, field, inside):
            return self.diagonal(slice(None), np.einsum("k,kts,kts->t", weight, field @ inside, field))
        weight, T, C = (self.count * self.eigenvalues)[:, 0, 0], len(self.test), self.n_outputs
        bias, width = total(weight, self.m_v, self.target), np.zeros(T)
        if np.isfinite(self.weights.width):
            for t in range(0, T, 32):                      # rows of R_v end where their blocks do
                rows, now = slice(t * C, (t + 32) * C), slice(min(t + 32, T) * C)
                width[t:t + 32] = total(weight, self.R_v[:, rows, now], self.C_start[now, now])
        data = self.test - C * self.noise2 - bias - width if self.source != "population" else np.zeros(T)
        return [np.where(np.isfinite(self.test), part, np.inf) for part in (bias, width, data)]
