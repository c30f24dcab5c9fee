"""Speed of a training step of the perceptron, beside the matrix products it is made of, and beside torch where it is installed."""

import numpy as np
import pytest

from dlnutils.parameterizations import build

DEPTH, WIDTH, BATCH, INPUTS, CLASSES = 6, 1024, 512, 784, 10
STEP = "training step of the 6 x 1024 perceptron at batch 512"


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((BATCH, INPUTS)).astype(np.float32), rng.integers(CLASSES, size=BATCH)


def sizes():
    """Fan-outs and fan-ins of all matrices."""
    return [(WIDTH, INPUTS)] + [(WIDTH, WIDTH)] * (DEPTH - 1) + [(CLASSES, WIDTH)]


@pytest.mark.benchmark(group=STEP)
def test_products_of_a_step(benchmark):
    """As many multiplications as in a step, as products of square matrices: the peak of this machine in this run."""
    operations = sum(2 * BATCH * a * b * (3 if i else 2) for i, (a, b) in enumerate(sizes()))
    A, out = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32), np.empty((1024, 1024), np.float32)
    repeats = operations / (2 * 1024**3)
    part = np.ascontiguousarray(A[:int(1024 * (repeats % 1))])

    def products():
        for _ in range(int(repeats)):
            np.matmul(A, A, out=out)
        np.matmul(part, A)
    benchmark.pedantic(products, rounds=7, iterations=1, warmup_rounds=1)


@pytest.mark.benchmark(group=STEP)
def test_perceptron_step(benchmark):
    X, y = data()
    net = build("mup", DEPTH, WIDTH, (INPUTS, CLASSES), "relu", 0.01, np.random.default_rng(0))
    benchmark.pedantic(net.step, (X, y), rounds=7, iterations=1, warmup_rounds=1)


@pytest.mark.benchmark(group=STEP)
def test_torch_step(benchmark):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    X, y = (torch.from_numpy(x) for x in data())
    layers = []
    for fan_out, fan_in in sizes():
        layers += [torch.nn.Linear(fan_in, fan_out, bias=not layers), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(X), y).backward()
        optimizer.step()
    benchmark.pedantic(step, rounds=7, iterations=1, warmup_rounds=1)
