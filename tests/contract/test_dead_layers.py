"""Dead channels, blocks and classes, as pruning leaves them: exact on every runtime that builds here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from edgecnn.data.sets import load_set
from edgecnn.graph.fold import fold
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.traced import trace
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
from edgecnn.parity import compare
from edgecnn.progress import Progress
from edgecnn.quant.ladder import climb
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.lower.shift import absorb_zero_points
from edgecnn.recipe import Preprocess
from edgecnn.targets.base import Interface, Session, Target
from edgecnn.targets.onnxruntime import OnnxRuntimeSession
from edgecnn.targets.registry import TARGETS

HOW = Preprocess(32, 32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
INTERFACE = Interface(None, 3, 32, 32, 10)
DEAD_BLOCK = "features.8.block.3.1"  # the last batch norm of a block with a residual Add
DEAD_CLASS, BIAS = 3, 0.7071


@pytest.fixture(scope="module")
def pruned() -> Graph:
    """Every seventh channel of every batch norm is dead, one block is, and so is one class."""
    model = load_model(find_model("mobilenetv3_small"), "random", 10).model
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight[::7] = 0
                module.bias[::14] = 0.25  # half of the dead ones say the same everywhere, the others nothing
                if name == DEAD_BLOCK:
                    module.weight.zero_()
                    module.bias.zero_()
        model.get_parameter("classifier.3.weight")[DEAD_CLASS] = 0
        model.get_parameter("classifier.3.bias")[DEAD_CLASS] = BIAS
    return trace(fold(model), 3, 32, 32)


def opened(lowered: Graph, target: Target, folder: Path) -> Session:
    """The artifact's session, or its lowered graph's where no machine of the project can run the artifact."""
    if target.profile.symmetric:
        return OnnxRuntimeSession(with_batch(absorb_zero_points(lowered), None).content, INTERFACE, optimize=False)
    files = {}
    for suffix, content in target.build(with_batch(lowered, None)).items():
        files[suffix] = folder / f"model{suffix}"
        files[suffix].write_bytes(content)
    return target.open(files, INTERFACE)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("effort", ["fast", "balanced"])
def test_dead_layers_are_exact(pruned: Graph, photos: Path, target: str, effort: str, tmp_path: Path) -> None:
    images = load_set(str(photos), [])
    climbed = climb(pruned, images, HOW, effort, TARGETS[target].profile, Progress())
    session = opened(lower(climbed.graph, climbed.table, TARGETS[target].profile), TARGETS[target], tmp_path)
    (batch,) = images.batches(HOW, 16)
    want = OnnxRuntimeSession(with_batch(pruned, None).content, INTERFACE).run_all(batch)
    got = session.run_all(batch)
    np.testing.assert_allclose(want[:, DEAD_CLASS], BIAS, atol=1e-7)
    np.testing.assert_allclose(got[:, DEAD_CLASS], BIAS, atol=1e-6)
    assert compare(want, got).sqnr_db > 15
    dead = climbed.table.weights.get("classifier.3.weight")  # float where a runtime has no INT8 linear layers
    assert dead is None or not dead.codes[DEAD_CLASS].any()
