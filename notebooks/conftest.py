"""Closes what nbval leaves open: it never looks at pictures, nor at a notebook without outputs, nor knows of rounding.

nbval re-executes each cell and compares text. These hooks read the results of that same execution, so a notebook is
still run only once. Its kernel owes nothing to the user's settings, and each figure is one that ``dln data-of`` can read.
"""

import base64
import io
import os
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from dlnutils.press.figure_rows import watching
from dlnutils.press.machine import processor
from dlnutils.press.run import kernel_environment

# Kept results of a sweep would be compared with themselves; more workers would fight with the other tests.
os.environ.update(DLN_CACHE="off", DLN_JOBS="1")

#: For what kernels write, and the numbers behind the figure that was just drawn.
FOLDER = tempfile.TemporaryDirectory(prefix="dln-", ignore_cleanup_errors=True)
ROWS = Path(FOLDER.name) / "rows.csv"

#: A pixel differs if a channel is off by more than this (of 255): below it lies what antialiasing may do.
CHANNEL_TOLERANCE = 24
#: More differing pixels than this fail. A full-width line of two pixels in a tall figure is about 0.3 %.
PIXEL_TOLERANCE = 0.0005
#: In a figure of chaotic training, on another processor than the committed one's: rounding differs there, and single runs part.
#: Such a figure says so in its cell's metadata, ``dln.chaotic``, with the reason; its claims are compared exactly all the same.
CHAOTIC_TOLERANCE = 0.025

#: With DLN_ROUNDING=NAME the kernels compute as another processor would: random draws differ in their last digit, and OpenBLAS
#: and NumPy use the instructions of older processors. Whatever then fails would fail on somebody's machine.
SIMD = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL"
ROUNDINGS = {"own": {"DLN_PERTURB": "2e-15"},
             "haswell": {"OPENBLAS_CORETYPE": "Haswell", "DLN_PERTURB": "1e-15"},
             "nehalem": {"OPENBLAS_CORETYPE": "Nehalem", "DLN_PERTURB": "-3e-15", "NPY_DISABLE_CPU_FEATURES": SIMD}}
ROUNDING = os.environ.get("DLN_ROUNDING", "")
if ROUNDING and ROUNDING not in ROUNDINGS:
    raise pytest.UsageError(f"DLN_ROUNDING must be one of {', '.join(ROUNDINGS)}, got {ROUNDING!r}")


def pytest_configure(config):
    """Notebooks are always compared, with this Python, and each by one worker."""
    config.option.nbval = config.option.nbval_current_env = True
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadscope"
        config.option.loadscopereorder = False             # by number of tests, a few long ones would come last


def pictures(outputs):
    return [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def decode(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int)


def differing_fraction(old, new):
    """Share of pixels that differ between two base64 PNGs; 1 if their sizes do."""
    old, new = decode(old), decode(new)
    if old.shape != new.shape:
        return 1.0
    return float((np.abs(old - new).max(axis=-1) > CHANNEL_TOLERANCE).mean())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """A notebook's kernel starts with its first cell. It owes nothing to the user's settings but the rounding of DLN_ROUNDING."""
    if not hasattr(item, "cell"):
        return (yield)
    environment = kernel_environment(FOLDER.name)
    if ROUNDING:
        folder = str(Path(__file__).resolve().parents[1] / "tests" / "rounding")
        environment |= ROUNDINGS[ROUNDING]
        environment["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    with mock.patch.dict(os.environ, environment, clear=True):
        return (yield)


def watch_figures(kernel):
    """Have the kernel write the numbers behind what it shows from now on to ``ROWS``."""
    ROWS.unlink(missing_ok=True)
    message = kernel.kc.execute(watching(ROWS), silent=True)
    kernel.await_reply(message, timeout=60)
    kernel.await_idle(message, timeout=60)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if not hasattr(item, "cell") or not hasattr(item, "test_outputs"):
        return (yield)
    if item.options["skip"] or not item.options["check"]:
        pytest.fail(f"cell {item.cell_num} is exempt from comparison (tag or comment): every output must be checked")
    if item.cell.source.strip() and item.cell.execution_count is None:
        pytest.fail(f"cell {item.cell_num} has never been executed: 'dln run' and 'dln accept' the notebook")
    figure = item.cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
    if figure:
        watch_figures(item.parent.kernel)
    result = yield
    if figure and not (ROWS.is_file() and ROWS.stat().st_size):
        pytest.fail(f"cell {item.cell_num} shows nothing that 'dln data-of {figure}' could read: draw it with matplotlib")
    committed, fresh = pictures(item.cell.outputs), pictures(item.test_outputs)
    if len(committed) != len(fresh):
        pytest.fail(f"cell {item.cell_num} has {len(committed)} pictures, but running it gives {len(fresh)}")
    elsewhere = ROUNDING or item.parent.nb.metadata.get("dln", {}).get("processor") != processor()
    chaotic = elsewhere and item.cell.metadata.get("dln", {}).get("chaotic")
    tolerance = CHAOTIC_TOLERANCE if chaotic else PIXEL_TOLERANCE
    for number, (old, new) in enumerate(zip(committed, fresh, strict=True), 1):
        share = differing_fraction(old, new)
        if share > tolerance:
            pytest.fail(f"picture {number} of cell {item.cell_num} differs from a fresh run in {share:.2%} of its pixels "
                        f"(at most {tolerance:.2%} may)")
    return result
