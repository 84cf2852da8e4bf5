"""TensorRT for RTX builds every model in every precision; ``test_tensorrt_rtx`` looks closer at one of each family."""

from dataclasses import dataclass

import numpy as np
import pytest

from edgecnn.graph.fold import fold
from edgecnn.graph.fp16 import fp16_arithmetic
from edgecnn.graph.graph import Graph
from edgecnn.graph.macs import layer_macs
from edgecnn.graph.traced import trace
from edgecnn.models.registry import MODELS, find_model
from edgecnn.models.weights import load_model
from edgecnn.quant.calibrate import observe_ranges
from edgecnn.quant.lower.profiles import TENSORRT
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.lower.shift import absorb_zero_points
from edgecnn.quant.placement import place
from edgecnn.quant.table import make_table
from edgecnn.targets.base import FP16, FP32, INT8, ExecutedLayer, Options
from edgecnn.targets.tensorrt import TensorRtTarget
from edgecnn.targets.tensorrt_session import Description
from edgecnn.verify.coverage import layer_precisions


@dataclass(frozen=True)
class Case:
    """A model's graphs by precision, and the layers that INT8 is planned for."""

    graphs: dict[str, Graph]
    planned: frozenset[str]


# Their blocks are B4's and B7's, of widths and depths in between.
BETWEEN = ("efficientnet_b5", "efficientnet_b6")


@pytest.fixture(scope="module", params=[name for name in MODELS if name not in BETWEEN])
def case(request: pytest.FixtureRequest) -> Case:
    """Of random weights; not kept any longer than it takes, the largest have 66 million."""
    graph = trace(fold(load_model(find_model(request.param), "random", 10).model), 3, 32, 32)
    noise = np.random.default_rng(0).normal(0, 1, (8, 3, 32, 32)).astype(np.float32)
    placement = place(graph)
    ranges = observe_ranges(graph, placement.roles, [noise])
    table = make_table(graph, placement, ranges, TENSORRT.signed(graph, placement))
    lowered = absorb_zero_points(lower(graph, table, TENSORRT))
    graphs = {FP32: graph, FP16: fp16_arithmetic(graph), INT8: fp16_arithmetic(lowered)}
    return Case(graphs, frozenset(layer.node for layer in TENSORRT.kept(table).layers))


# INT8 kernels are what a listed architecture may lack; of floats, one of each family is listed elsewhere.
@pytest.mark.parametrize(
    ("precision", "architectures"),
    [(FP32, ()), (FP16, ()), (INT8, ()), (INT8, ("sm86", "sm89", "sm120"))],
    ids=["fp32-portable", "fp16-portable", "int8-portable", "int8-listed"],
)
def test_each_layer_runs_as_planned(case: Case, precision: str, architectures: tuple[str, ...]) -> None:
    built = TensorRtTarget().configured(Options("tensorrt-rtx", architectures)).build(case.graphs[precision])
    kernels = Description.read(built[".json"]).kernels
    macs = layer_macs(case.graphs[FP32])
    found = layer_precisions([ExecutedLayer(row.nodes, row.kind, row.precision) for row in kernels], macs)
    floats = FP32 if precision == FP32 else FP16
    planned = case.planned if precision == INT8 else frozenset()
    assert found == {node: INT8 if node in planned else floats for node in macs}
