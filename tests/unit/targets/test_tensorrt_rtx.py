"""TensorRT for RTX, for real and with no GPU: every family builds, and its builder says what runs in INT8."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
import tensorrt_rtx
from onnx import numpy_helper

from edgecnn.errors import BuildError
from edgecnn.graph.fp16 import fp16_arithmetic
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.macs import activation_sizes, layer_macs
from edgecnn.quant.lower.half import with_fp16_scales
from edgecnn.quant.lower.profiles import TENSORRT
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.lower.shift import absorb_zero_points
from edgecnn.quant.table import QuantizerTable
from edgecnn.targets.base import FP16, FP32, INT8, ExecutedLayer, Options, Target
from edgecnn.targets.bundle import builder
from edgecnn.targets.bundle.layers import Kernel, from_log
from edgecnn.targets.tensorrt import TensorRtTarget
from edgecnn.targets.tensorrt_session import Description
from edgecnn.verify.coverage import Coverage, cover, layer_precisions

FAMILIES = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]


def rtx(*architectures: str) -> Target:
    return TensorRtTarget().configured(Options("tensorrt-rtx", architectures))


def described(built: dict[str, bytes]) -> Description:
    return Description.read(built[".json"])


def executed(built: dict[str, bytes], macs: dict[str, int]) -> dict[str, str]:
    kernels = described(built).kernels
    return layer_precisions([ExecutedLayer(kernel.nodes, kernel.kind, kernel.precision) for kernel in kernels], macs)


def covered(kernels: Iterable[Kernel], graph: Graph, table: QuantizerTable) -> Coverage:
    return cover(
        [ExecutedLayer(kernel.nodes, kernel.kind, kernel.precision) for kernel in kernels],
        layer_macs(graph),
        activation_sizes(graph),
        [layer.node for layer in TENSORRT.kept(table).layers],
        True,
    )


def graph_of(graph: Graph, table: QuantizerTable, precision: str) -> Graph:
    if precision == "int8":
        graph = absorb_zero_points(lower(graph, table, TENSORRT))
    return graph if precision == "fp32" else fp16_arithmetic(graph)


@pytest.mark.parametrize("architecture", ["portable", "sm86", "sm89", "sm120"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_builds_and_each_layer_runs_as_planned(
    tiny_graph: TinyGraph, tiny_table: TinyTable, name: str, precision: str, architecture: str
) -> None:
    graph, table = tiny_graph(name), tiny_table(name, symmetric=True)
    target = rtx(*[] if architecture == "portable" else [architecture])
    built = target.build(graph_of(graph, table, precision))
    planned = {layer.node for layer in TENSORRT.kept(table).layers} if precision == "int8" else set()
    floats = FP32 if precision == "fp32" else FP16
    macs = layer_macs(graph)
    assert executed(built, macs) == {node: INT8 if node in planned else floats for node in macs}
    assert bool(planned) == (precision == "int8")
    assert described(built).architectures == (() if architecture == "portable" else (architecture.upper(),))


def test_scales_of_half_precision_become_the_very_same_kernels(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    """RTX takes both spellings of INT8 with float layers in half precision; only the names of Casts differ."""
    graph, table = tiny_graph(), tiny_table(symmetric=True)
    lowered = absorb_zero_points(lower(graph, table, TENSORRT))
    casts, scales = rtx().build(fp16_arithmetic(lowered)), rtx().build(with_fp16_scales(lowered))
    assert described(casts).cost("int8") == described(scales).cost("int8")
    assert executed(casts, layer_macs(graph)) == executed(scales, layer_macs(graph))
    assert INT8 in executed(scales, layer_macs(graph)).values()


def test_turing_has_no_int8_kernels_and_that_is_found(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    """The same graph, which the builder takes without a word."""
    graph, table = tiny_graph(), tiny_table(symmetric=True)
    session = rtx("sm75").build(graph_of(graph, table, "int8"))
    planned = [layer.node for layer in TENSORRT.kept(table).layers]
    found = executed(session, layer_macs(graph))
    assert {found[node] for node in planned} <= {FP16, FP32}


def test_a_scale_of_rank_one_would_be_secretly_float(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    """Why there is a lint, and that coverage would catch it without one."""
    graph, table = tiny_graph(), tiny_table(symmetric=True)
    model = graph_of(graph, table, "int8").copy()
    for tensor in model.graph.initializer:
        if tensor.name == "image/scale":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).reshape(1), tensor.name))
    lowered = Graph(model)
    with pytest.raises(BuildError, match=r"an activation's scale of shape \[1\]"):
        rtx().build(lowered)
    operators = {node.name: node.op_type for node in lowered.nodes}
    kernels = from_log(builder.build(tensorrt_rtx, lowered.content, builder.Options()).layers, operators)
    first = next(kernel for kernel in kernels if "features.0.0/Conv" in kernel.nodes)
    assert first.precision == FP16
    found = covered(kernels, graph, table)
    assert "not: features.0.0/Conv (fp16)" in found.problem


def test_the_parsers_refusal_names_the_node(tiny_graph: TinyGraph) -> None:
    model = tiny_graph().copy()
    model.graph.node[3].op_type = "NoSuchOperator"
    name = model.graph.node[3].name
    with pytest.raises(BuildError) as caught:
        rtx().build(Graph(model))
    assert str(caught.value).startswith(f"tensorrt-rtx {tensorrt_rtx.__version__} refuses the graph: node {name} (")
    assert "NoSuchOperator" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_nonsense_is_no_empty_network(content: bytes) -> None:
    with pytest.raises(builder.Refused):
        builder.build(tensorrt_rtx, content, builder.Options())


def test_a_failed_build_is_refused_in_the_builders_words(tiny_graph: TinyGraph) -> None:
    """FP32 linear layers do not exist on Turing; the builder returns None and says why in its log."""
    with pytest.raises(BuildError, match=r"refuses the graph: .*GEMM"):
        rtx("sm75").build(tiny_graph())


def test_a_failed_build_leaves_nothing_behind(tiny_graph: TinyGraph) -> None:
    """Within one process the next engine would silently be one for Turing."""
    before = rtx().build(tiny_graph())
    with pytest.raises(BuildError):
        rtx("sm75").build(tiny_graph())
    assert rtx().build(tiny_graph()) == before


def test_a_builder_that_dies_is_one_line(tiny_graph: TinyGraph) -> None:
    with pytest.raises(builder.Refused) as caught:
        builder.build_alone("no_such_module", tiny_graph().content, builder.Options())
    assert str(caught.value) == "the builder died (1): ModuleNotFoundError: No module named 'no_such_module'"


def test_a_dynamic_batch_has_one_profile_and_the_same_layers(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    graph = graph_of(tiny_graph(), tiny_table(symmetric=True), "int8")
    macs = layer_macs(tiny_graph())
    fixed, dynamic = rtx().build(graph), rtx().build(with_batch(graph, None))
    assert executed(fixed, macs) == executed(dynamic, macs)
    options = builder.Options(batches=(8, 4, 1))
    with pytest.raises(builder.Refused, match="batches 8 to 1 are no profile of this network"):
        builder.build(tensorrt_rtx, with_batch(graph, None).content, options)


def test_the_same_graph_gives_the_same_bytes_and_another_architecture_others(tiny_graph: TinyGraph) -> None:
    first, second, other = (rtx(*names).build(tiny_graph()) for names in ((), (), ("sm86", "sm89")))
    assert first == second
    assert first[".engine"] != other[".engine"]
    assert described(other).architectures == ("SM86", "SM89")


def test_advice_counts_kernels_and_bytes_and_claims_no_speed(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    graph = tiny_graph()
    built = rtx().build(graph_of(graph, tiny_table(symmetric=True), "int8"))
    advice = rtx().advise(built, graph)
    assert advice is not None
    int8, fp16 = advice.costs
    assert (int8.precision, fp16.precision) == ("int8", "fp16")
    assert int8.kernels > fp16.kernels > 0
    assert int8.moved_bytes > fp16.moved_bytes > 0
    assert "prefer --fp16, or measure both on your GPU" in advice.text
    assert f"{int8.kernels} kernels" in advice.text
    assert not any(word in advice.text for word in ("faster", "slower", " ms", "x as fast"))


def test_bytes_are_those_of_the_tensors_between_kernels(tiny_graph: TinyGraph) -> None:
    """The image is read once, as float32, and the logits written once."""
    kernels = described(rtx().build(tiny_graph())).kernels
    image, logits = 4 * 3 * 32 * 32, 4 * 10
    assert kernels[0].bytes >= image
    assert kernels[-1].bytes >= logits
    assert sum(kernel.bytes for kernel in kernels) < 100 * image


def test_kernels_that_only_move_or_quantize_are_reformats(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    """Between two layers with nothing but a bias, a kernel of its own turns sums into codes."""
    graph, table = tiny_graph("mobilenetv2"), tiny_table("mobilenetv2", symmetric=True)
    kernels = described(rtx().build(graph_of(graph, table, "int8"))).kernels
    found = covered(kernels, graph, table)
    assert found.problem == ""
    assert found.reformats["Reformat"] > 5
    assert len(found.unfused) == len(activation_sizes(graph))


def test_a_description_survives_its_file_and_nothing_else_does(tiny_graph: TinyGraph) -> None:
    built = rtx("sm86").build(tiny_graph())
    found = described(built)
    assert Description.read(found.as_bytes()) == found
    assert found == replace(found)
    for content in (b"", b"[]", b"{}", b'{"kernels": [1]}', np.random.default_rng(0).bytes(64)):
        with pytest.raises(BuildError, match="the engine's description cannot be read"):
            Description.read(content)
