"""The wrapper of a PyTorch network that a page shows: it has what the checks ask for, and gives the numbers of our network."""

import ast
import copy
import inspect
import re

import numpy as np
import pytest
from committed import NOTEBOOKS

from dlnutils.perceptron import Network, build, coordinate_check, own_change

PAGE = "integrable/coordinate-check-and-transfer"


@pytest.fixture(scope="module")
def block():
    """The code that the page shows."""
    text = "\n\n".join("".join(cell["source"]) for cell in NOTEBOOKS[PAGE]["cells"] if cell["cell_type"] == "markdown")
    (found,) = re.findall(r"(?s)```python\n(.*?)```", text)
    return found


def test_the_wrapper_is_short_and_has_the_methods_of_a_network(block):
    assert len(block.splitlines()) <= 25 and max(map(len, block.splitlines())) <= 110
    (wrapper,) = (node for node in ast.parse(block).body if isinstance(node, ast.ClassDef))
    methods = {node.name: [argument.arg for argument in node.args.args] for node in wrapper.body
               if isinstance(node, ast.FunctionDef)}
    for name, method in inspect.getmembers(Network, inspect.isfunction):
        if not name.startswith("_"):
            assert methods[name] == list(inspect.signature(method).parameters), name
    assert len(methods) == 4


@pytest.mark.parametrize("copied", [True, False])
def test_a_network_of_pytorch_has_the_numbers_of_ours(block, copied):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; nothing of the book needs it")
    names: dict = {}
    exec(compile(block, PAGE, "exec"), names)
    rng = np.random.default_rng(0)
    X, y, probe = rng.standard_normal((20, 6)), rng.integers(3, size=20), rng.standard_normal((9, 6))
    ours = build("mup", 3, 24, 6, 3, "relu", 0.3, dtype=np.float64, rng=1)

    def theirs():
        layers = [torch.nn.Linear(W.shape[1], W.shape[0], bias=i == 0, dtype=torch.float64) for i, W in enumerate(ours.W)]
        model = torch.nn.Sequential(*[part for layer in layers for part in (layer, torch.nn.ReLU(inplace=True))][:-1])
        with torch.no_grad():
            for layer, W in zip(layers, ours.W):
                layer.weight.copy_(torch.tensor(W))
            layers[0].bias.copy_(torch.tensor(ours.B[0]))
        rates, bias_rates = ours._rates(True)
        groups = [{"params": [layer.weight], "lr": rate} for layer, rate in zip(layers, rates)]
        optimizer = torch.optim.SGD([*groups, {"params": [layers[0].bias], "lr": bias_rates[0]}])
        return names["Checked"](model, optimizer, torch.nn.functional.cross_entropy)

    start, first = ours.copy(), theirs()
    last = copy.deepcopy(first) if copied else theirs()
    for _ in range(3):
        assert last.step(X, y) == pytest.approx(ours.step(X, y), rel=1e-12)
    np.testing.assert_allclose(coordinate_check(first, last, probe), coordinate_check(start, ours, probe), rtol=1e-9)
    np.testing.assert_allclose(own_change(first, last, probe), own_change(start, ours, probe), rtol=1e-9)
