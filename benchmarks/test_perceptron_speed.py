"""Speed of a training step of the perceptron, beside the matrix products it is made of and beside torch where it is installed."""

import numpy as np
import pytest

from dlnutils.perceptron import build
from dlnutils.press.bench import PERCEPTRON, perceptron_operations, perceptron_shapes

WIDTH, DEPTH, BATCH, INPUTS, CLASSES = 1024, *PERCEPTRON.values()
STEP = "training step of the 6 x 1024 perceptron at batch 512"


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((BATCH, INPUTS)).astype(np.float32), rng.integers(CLASSES, size=BATCH)


def test_products_of_a_step(measure):
    """As many multiplications as in a step, as products of square matrices: the peak of this machine in this run."""
    A, out = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32), np.empty((1024, 1024), np.float32)
    repeats = perceptron_operations(WIDTH) / (2 * 1024**3)
    part = np.ascontiguousarray(A[:int(1024 * (repeats % 1))])

    def products():
        for _ in range(int(repeats)):
            np.matmul(A, A, out=out)
        np.matmul(part, A)
    measure(products, group=STEP)


@pytest.mark.parametrize("width", (256, 512, 1024, 2048))
def test_perceptron_step(measure, width):
    X, y = data()
    net = build("mup", DEPTH, width, INPUTS, CLASSES, "relu", 0.01, rng=0)
    measure(net.step, X, y, group=STEP if width == WIDTH else f"training step of the 6 x {width} perceptron at batch 512",
            family="perceptron step", size=width)


def test_torch_step(measure):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    X, y = (torch.from_numpy(x) for x in data())
    layers = []
    for fan_out, fan_in in perceptron_shapes(WIDTH):
        layers += [torch.nn.Linear(fan_in, fan_out, bias=not layers), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(X), y).backward()
        optimizer.step()
    measure(step, group=STEP)
