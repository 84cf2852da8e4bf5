"""What INT8 costs at each place, measured one place at a time: a tensor's quantizer, or a layer's rounded weight."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgecnn.graph.graph import Graph, with_batch, with_weights
from edgecnn.graph.macs import layer_macs
from edgecnn.graph.session import logits, shared_session
from edgecnn.parity import compare
from edgecnn.quant.alone import Alone
from edgecnn.quant.calibrate import Range
from edgecnn.quant.table import Float, QuantizerTable
from edgecnn.threads import in_order


@dataclass(frozen=True)
class Sensitivity:
    """KL divergence of the softmax, nats, that a layer costs when nothing else of the network is quantized.

    Args:
        module: of the PyTorch model.
        macs: multiply-accumulates of one image.
        input_kl: with its input in eight bits; layers that read one tensor share it.
        weight_kl: with its weight in eight bits, rounded to the nearest.
    """

    module: str
    macs: int
    input_kl: float
    weight_kl: float

    @property
    def kl(self) -> float:
        """Of both, whose errors add up."""
        return self.input_kl + self.weight_kl


def tensor_sensitivities(alone: Alone, ranges: Mapping[str, Range]) -> dict[str, float]:
    """KL divergence of the logits, nats, that each tensor's quantizer costs alone."""
    found = in_order(lambda name: alone.divergence(name, ranges[name]), alone.tensors)
    return dict(zip(alone.tensors, found, strict=True))


def layer_sensitivities(
    graph: Graph,
    table: QuantizerTable,
    inputs: Mapping[str, float],
    images: Float,
    on_layer: Callable[[], None] = lambda: None,
) -> list[Sensitivity]:
    """Every layer of a table, the costliest first.

    Args:
        inputs: what each tensor costs.
        images: (n, C, H, W) float32, normalised.
    """
    macs = layer_macs(graph)
    want = logits(shared_session(with_batch(graph, None).content), images)
    found = []
    for layer in table.layers:
        rounded = with_weights(graph, {layer.weight: table.weights[layer.weight].real})
        answers = logits(shared_session(with_batch(rounded, None).content), images)
        module, _, _ = layer.node.rpartition("/")
        found.append(Sensitivity(module, macs[layer.node], inputs[layer.input], compare(want, answers).kl))
        on_layer()
    return sorted(found, key=lambda layer: (-layer.kl, layer.module))
