"""Float islands: the few layers whose input's eight bits cost the most accuracy, and which hardly count in the work.

A first depthwise layer cannot average the rounding of its input over channels, and everything behind it inherits that
(selective quantization, e.g. Wu et al. 2020, arXiv 2004.09602, section 6.1). How much a tensor costs is measured, by
quantizing it alone; the errors of different tensors add up.
"""

from collections.abc import Iterator, Mapping

from edgecnn.quant.table import QuantizerTable

WORTH = 0.05  # of all tensors' divergence together; what costs less stays INT8
BUDGET = 0.025  # of the network's multiply-accumulates, in float


def costliest(
    sensitivity: Mapping[str, float], table: QuantizerTable, worth: float
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Tensors that stay float with the layers that read them, and those layers, the costliest tensor first.

    A tensor that something else still reads or writes as codes gains nothing by it.

    Args:
        worth: share of all tensors' divergence that one has to cost.
    """
    least = worth * sum(sensitivity.values())
    for tensor in sorted(sensitivity, key=lambda name: (-sensitivity[name], name)):
        readers = tuple(layer.node for layer in table.layers if layer.input == tensor)
        costs = sensitivity[tensor] >= least > 0
        if readers and costs and tensor not in table.without(readers).activations:
            yield tensor, readers


def float_islands(sensitivity: Mapping[str, float], table: QuantizerTable, macs: Mapping[str, int]) -> tuple[str, ...]:
    """Layers to leave in float: readers of the costliest tensors, as many as the budget allows.

    Args:
        sensitivity: of tensors that layers read.
        macs: multiply-accumulates of every layer.
    """
    left = BUDGET * sum(macs.values())
    chosen: list[str] = []
    for _, readers in costliest(sensitivity, table, WORTH):
        cost = sum(macs[node] for node in readers)
        if cost <= left:
            chosen += readers
            left -= cost
    return tuple(chosen)
