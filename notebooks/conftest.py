"""Closes what nbval leaves open: it never looks at pictures, nor at a notebook without outputs, nor knows of rounding.

nbval re-executes each cell and compares text. This hook reads the results of that same execution, so a notebook is
still run only once.
"""

import base64
import io
import os

import numpy as np
import pytest
from PIL import Image

from dlnutils.runner import processor

# Kept results of a sweep would be compared with themselves; more workers would fight with the other tests.
os.environ.update(DLN_CACHE="off", DLN_JOBS="1")

#: A pixel differs if a channel is off by more than this (of 255): below it lies what antialiasing may do.
CHANNEL_TOLERANCE = 24
#: More differing pixels than this fail. A full-width line of two pixels in a tall figure is about 0.3 %.
PIXEL_TOLERANCE = 0.0005
#: In a figure of chaotic training, on another processor than the committed one's: rounding differs there, and single runs part.
#: Such a figure says so in its cell's metadata, ``dln.chaotic``, with the reason; its claims are compared exactly all the same.
CHAOTIC_TOLERANCE = 0.025
#: A table of thousands of rounded numbers for programs: somewhere a last digit hangs on the processor. One unit of
#: the last of its four digits is at most this fraction of a number.
TABLE = "application/vnd.dln.table+json"
TABLE_TOLERANCE = 1.01e-3


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


def tables(outputs):
    return [output["data"][TABLE] for output in outputs if TABLE in output.get("data", {})]


def difference(old, new, where="table"):
    """Where two nested tables differ by more than the rounding of a number, in words; None if nowhere."""
    if isinstance(old, dict) and isinstance(new, dict) and set(old) == set(new):
        names = sorted(old)
        old, new = [old[name] for name in names], [new[name] for name in names]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        names = range(len(old))
    else:
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (old, new))
        same = abs(old - new) <= TABLE_TOLERANCE * abs(old) if numbers else old == new
        return None if same else f"{where}: {old!r} was committed, running it gives {new!r}"
    pairs = zip(old, new, names)
    return next(filter(None, (difference(a, b, f"{where}[{name!r}]") for a, b, name in pairs)), None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if not hasattr(item, "cell") or not hasattr(item, "test_outputs"):
        return (yield)
    if item.options["skip"] or not item.options["check"]:
        pytest.fail(f"cell {item.cell_num} is exempt from comparison (tag or comment): every output must be checked")
    if item.cell.source.strip() and item.cell.execution_count is None:
        pytest.fail(f"cell {item.cell_num} has never been executed: 'dln run' and 'dln accept' the notebook")
    item.parent.skip_compare = tuple({*item.parent.skip_compare, TABLE})       # compared below
    result = yield
    committed, fresh = tables(item.cell.outputs), tables(item.test_outputs)
    if len(committed) != len(fresh):
        pytest.fail(f"cell {item.cell_num} has {len(committed)} tables, but running it gives {len(fresh)}")
    if words := difference(committed, fresh):
        pytest.fail(f"cell {item.cell_num}: {words}")
    committed, fresh = pictures(item.cell.outputs), pictures(item.test_outputs)
    if len(committed) != len(fresh):
        pytest.fail(f"cell {item.cell_num} has {len(committed)} pictures, but running it gives {len(fresh)}")
    elsewhere = item.parent.nb.metadata.get("dln", {}).get("processor") != processor()
    chaotic = elsewhere and item.cell.metadata.get("dln", {}).get("chaotic")
    tolerance = CHAOTIC_TOLERANCE if chaotic else PIXEL_TOLERANCE
    for number, (old, new) in enumerate(zip(committed, fresh), 1):
        share = differing_fraction(old, new)
        if share > tolerance:
            pytest.fail(f"picture {number} of cell {item.cell_num} differs from a fresh run in {share:.2%} of its pixels "
                        f"(at most {tolerance:.2%} may)")
    return result
