"""Weight matrices as the equations see them: what each remembers of its start and of its gradients, and the sizes around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .optimizers import Memory, Optimizer


class _Weights:
    """Memory of matrices 0 to L over rows (time, output), the output fastest.

    ``W_l(t) = d_l(t) W_l(0) + sum_s k_l(t, s) G_l(s)``: ``gradients[l]`` is ``k_l`` and ``pull[l]`` is ``gamma0 k_l``, the same
    arrays for layers that learn alike. Each output has its own read-out, so that the last memory is a matrix of multiples of the
    identity; all others mix the outputs.
    """

    def __init__(self, parameters: dict[str, Any], optimizer: Optimizer, n_outputs: int = 1, n_matrices: int | None = None,
                 memory: Memory | None = None):
        p, C = parameters, n_outputs
        last = (p["n_hidden"] + 1 if n_matrices is None else n_matrices) - 1
        self.parameters, self.n_outputs, self.optimizer = p, C, optimizer
        self.changes = optimizer.clip is not None or optimizer.normalise       # memories that hang on the training itself
        memory = optimizer.memory(p["n_steps"], last) if memory is None else memory
        start = memory.start * np.broadcast_to(p["initial_scale"], last + 1)[:, None]
        self.start = [None if np.all(d == 1) else np.repeat(d, C) for d in start]
        made: dict[Any, np.ndarray] = {}
        pulls: dict[int, np.ndarray] = {}
        self.gradients, self.pull = [], []
        for layer, k in enumerate(memory.gradients):
            key = layer if self.changes else (id(k), C > 1 and layer == last)
            if key not in made:
                made[key] = np.kron(k, np.eye(C) if layer == last else np.ones((C, C))) if C > 1 else np.array(k)
                pulls[id(made[key])] = p["gamma0"] * made[key]
            self.gradients.append(made[key])
            self.pull.append(pulls[id(made[key])])
        #: The rate of plain descent, which has sums of rows where others have products; else None.
        self.rate = optimizer.learning_rate * p["gamma0"] if optimizer.plain and self.start[last] is None and C == 1 else None
        widths = np.broadcast_to(p["width"], last)
        self.width = float(widths[-1])                     # of the last hidden layer
        with np.errstate(invalid="ignore"):
            self.share = 1.0 if np.isinf(self.width) else float(widths[0] / widths[-1])
            growth = np.ones(last - 1) if np.isinf(self.width) else widths[1:] / widths[:-1]
        beta = np.broadcast_to(p["branch_scale"], last - 1)
        #: At index l, of matrix l between hidden layers: of signals going up, and of errors going down.
        self.up = np.append(np.nan, beta**2)
        self.down = np.append(np.nan, beta**2 * growth)
        #: Squared norms of gradients are these times ``C_g C_h``, in units of the last width.
        sizes = np.append(widths, 1.0) / widths[-1] if np.isfinite(self.width) else np.ones(last + 1)
        self.norms = p["gamma0"]**2 * np.concatenate([sizes[:1], beta**2 * sizes[1:-1], [1.0]])

    def drawn(self, layer, rows, block):
        """Of a block of rows of the random part, what is left of the start: ``d d' o block``."""
        d = self.start[layer]
        return block if d is None else d[rows, None] * d[:block.shape[-1]] * block

    def cut(self, t, C_g, C_h):
        """Clip or normalise the gradients of time t: ``|G_l|^2 = gamma0^2 beta_l^2 C_g C_h`` times widths, of whole outputs."""
        rows = slice(t * self.n_outputs, (t + 1) * self.n_outputs)
        square = self.norms * [np.sum(g[rows, rows] * h[rows, rows]) for g, h in zip([*C_g, np.eye(len(C_h[0]))], C_h)]
        norm = np.sqrt(np.maximum(square, 1e-300))
        if self.optimizer.normalise:
            factors = 1 / norm
        else:
            factors = np.full(len(norm), min(1.0, (self.optimizer.clip or np.inf) / np.sqrt(square.sum())))
        for k, pull, factor in zip(self.gradients, self.pull, factors):
            k[:, rows] *= factor
            pull[:, rows] *= factor
