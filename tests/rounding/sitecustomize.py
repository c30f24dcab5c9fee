"""Python runs this at its start where this folder is in PYTHONPATH: random draws then differ in their last digit.

The kernels of ``make test-rounding`` see it. What a notebook shows must not depend on a factor ``1 + DLN_PERTURB`` on all that
is drawn: another processor, another NumPy would change as much.
"""

import os

if os.environ.get("DLN_PERTURB"):
    import numpy as np

    FACTOR = 1 + float(os.environ["DLN_PERTURB"])

    class Perturbed(np.random.Generator):
        """A generator of the same numbers but for their last digit; those it spawns are like it."""

        def standard_normal(self, *args, **options):
            drawn = super().standard_normal(*args, **options)
            return drawn * drawn.dtype.type(FACTOR) if isinstance(drawn, np.ndarray) else drawn * FACTOR

        def normal(self, *args, **options):
            return super().normal(*args, **options) * FACTOR

        def uniform(self, *args, **options):
            return super().uniform(*args, **options) * FACTOR

    plain = np.random.default_rng

    def default_rng(seed=None):
        drawn_from = plain(seed)
        return drawn_from if isinstance(seed, np.random.Generator) else Perturbed(drawn_from.bit_generator)

    np.random.default_rng = default_rng
