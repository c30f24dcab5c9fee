"""Batches of a training set that come again: cycled, reshuffled, or drawn at every step."""

from __future__ import annotations

import numpy as np

from ._rows import _mirror, _resolvent, _sandwich


class _Batches:
    """Batches that come again: how errors on the samples answer, and the noise that their gradients carry.

    In an answer ``X`` of errors to earlier ones, those of a sample that is not seen at a time do not count. Of groups in a cycle
    (``P_j`` samples) what is left is ``X(t, s) / P_j`` between times of the same group. Of random batches, a share p, it is
    ``X / P`` but between times of one epoch, whose batches share no sample; and a sample's mask is noise of its own, with
    covariance S.
    """

    def __init__(self, T, C, samples, batch, sampling):
        t, self.n_outputs, self.samples = np.arange(T), C, samples
        self.S = None
        if sampling == "cycle":
            sizes = np.array(batch if isinstance(batch, list) else round(samples / batch) * [batch])
            group = t % len(sizes)
            self.kept = (group[:, None] == group) / sizes[group]
            self.seen = self.kept
            self.groups = [(size / samples, (group == j) / size) for j, size in enumerate(sizes)]
        else:
            share = batch / samples
            epoch = t // round(1 / share) if sampling == "shuffle" else t
            self.within = (epoch[:, None] == epoch) * 1.0
            self.kept, self.odds = (1 - self.within) / samples, np.eye(T) / share - 1
            self.seen = np.full((T, T), 1 / samples)
            self.within, self.odds = (np.kron(x, np.ones((C, C))) for x in (self.within, self.odds))
            self.S, self.inner, self.outer, self.mixed = (np.zeros((T * C, T * C)) for _ in range(4))
        self.kept, self.seen = (np.kron(x, np.ones((C, C))) for x in (self.kept, self.seen))
        self.X = np.zeros((T * C, T * C))

    def respond(self, rows, X, R):
        """Rows of ``R = (1 + kept o X)^-1``."""
        now = slice(rows.stop)
        self.X[rows, now] = X
        _resolvent(R, rows, -self.kept[rows, now] * X)

    def noise(self, rows, V, R, N):
        """Rows of the noise N of the errors that gradients see, from those V of a fresh sample; the loss on all samples."""
        now, C = slice(rows.stop), self.n_outputs
        one = np.eye(rows.stop)[rows]
        if self.S is None:
            _mirror(N, rows, self.seen[rows, now] * _sandwich(R, V, rows))
            loss = 0.0
            for share, own in self.groups:                 # errors of a group answer at its own times alone
                answer = one - self.X[rows, now] * np.repeat(own, C)[now] @ R[now, now]
                loss = loss + share * np.sum(answer @ V[now, now] * answer)
            return loss
        # C = R (V + X S X' / P^2) R',  S = ([t = s] / p - 1) C within an epoch,  N = R (V + S) R' / P
        part = self.kept * self.X                          # of an earlier epoch
        _mirror(self.inner, rows, V[rows, now] + _sandwich(part, self.S, rows))
        C_own = _sandwich(R, self.inner, rows)
        _mirror(self.S, rows, self.odds[rows, now] * self.within[rows, now] * C_own)
        _mirror(self.outer, rows, V[rows, now] + self.S[rows, now])
        _mirror(N, rows, _sandwich(R, self.outer, rows) / self.samples)
        # The loss on all samples: Y V Y' + (1 - Y) S (1 - Y)',  Y = 1 - X R / P
        left = self.X[rows, now] / self.samples @ R[now, now]
        answer = one - left
        return np.sum(answer @ V[now, now] * answer) + np.sum(left @ self.S[now, now] * left)

    @property
    def matrices(self):
        return (self.X,) if self.S is None else (self.X, self.S, self.inner, self.outer)
