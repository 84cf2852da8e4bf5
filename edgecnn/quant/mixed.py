"""Mixed precision: more layers in float, by what each costs in accuracy and what it costs in time, both measured here.

The readers of one tensor are one choice. Costs nearly add up in either sense: choices are made one by one, and timed
again together. (Wu et al. 2020, arXiv 2004.09602, section 6.1, rank by accuracy alone; Wang et al. 2019, arXiv
1811.08886, showed that the device must have its say.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgecnn.graph.graph import Graph
from edgecnn.quant.islands import costliest
from edgecnn.quant.rungs import Slowdown, Timer
from edgecnn.quant.table import QuantizerTable

WORTH = 0.01  # of all tensors' divergence together; what costs less stays INT8
SLOWER = 1.05  # the longest that the network may take, of what it took
AT_ONCE = 6  # networks in one race, whose threads and caches are still their own
LEAST = 0.001  # a layer that costs no time is as good as one that costs so much of it


@dataclass(frozen=True)
class Choice:
    """Layers that may be float together.

    Args:
        share: of all tensors' divergence.
        slowdown: of the network with nothing else changed.
    """

    layers: tuple[str, ...]
    share: float
    slowdown: Slowdown

    @property
    def cost(self) -> float:
        """Time, as a share of the network's."""
        return max(LEAST, self.slowdown.ratio - 1)


def mixed_precision(
    graph: Graph,
    table: QuantizerTable,
    sensitivity: Mapping[str, float],
    timer: Timer,
    on_choice: Callable[[int], object] = lambda count: None,
) -> tuple[QuantizerTable, Slowdown | None]:
    """The table with those layers in float that buy the most accuracy for the time, and what they cost together.

    Args:
        sensitivity: KL divergence that each tensor costs alone.
        on_choice: called with how many more layers were timed.
    """
    chosen = _affordable(_timed(graph, table, sensitivity, timer, on_choice))
    while chosen:
        mixed = table.without([node for choice in chosen for node in choice.layers])
        (together,) = timer(graph, [table, mixed])
        if together.ratio <= SLOWER:
            return mixed, together
        chosen.pop()  # the poorest bargain; alone it was cheaper than among the others
    return table, None


def worthwhile(sensitivity: Mapping[str, float], table: QuantizerTable) -> dict[str, tuple[str, ...]]:
    """The readers of every tensor that costs enough, the costliest first."""
    return dict(costliest(sensitivity, table, WORTH))


def _timed(
    graph: Graph,
    table: QuantizerTable,
    sensitivity: Mapping[str, float],
    timer: Timer,
    on_choice: Callable[[int], object],
) -> list[Choice]:
    total = sum(sensitivity.values())
    tensors = list(worthwhile(sensitivity, table).items())
    choices = []
    for start in range(0, len(tensors), AT_ONCE):
        part = tensors[start : start + AT_ONCE]
        slowdowns = timer(graph, [table, *(table.without(layers) for _, layers in part)])
        choices += [
            Choice(layers, sensitivity[name] / total, found)
            for (name, layers), found in zip(part, slowdowns, strict=True)
        ]
        on_choice(len(part))
    return choices


def _affordable(choices: list[Choice]) -> list[Choice]:
    """The best bargains whose costs together are inside the budget."""
    left, chosen = SLOWER - 1, []
    for choice in sorted(choices, key=lambda choice: (-choice.share / choice.cost, choice.layers)):
        if choice.cost <= left:
            chosen.append(choice)
            left -= choice.cost
    return chosen
