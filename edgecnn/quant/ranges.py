"""The range of each tensor, chosen among several methods' by what it does to the logits, not by one method for all.

No method is best on every tensor (Wu et al. 2020, arXiv 2004.09602, table 5): a ReLU6 wants its whole range, the
HardSwish behind a first convolution a third of it. So each tensor is quantized alone with each candidate, on images
that the ranges were not observed on, and the KL divergence of the softmax decides. Most tensors hardly matter; they
keep min-max, which cuts off nothing.
"""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from edgecnn.graph.graph import Graph
from edgecnn.quant.alone import EVERY, Alone
from edgecnn.quant.calibrate import Range, seen_range, wider
from edgecnn.quant.histogram import MIN_MAX, Histogram, candidates
from edgecnn.quant.observe import Observer, Summary
from edgecnn.quant.placement import Placement, Role
from edgecnn.quant.table import Float
from edgecnn.threads import in_order

# What only a runtime with INT8-to-INT8 kernels quantizes is not tried: its range is of little weight.
TRIED = frozenset({Role.INPUT, Role.SKIP})
SCREENING = 4  # images that say which tensors matter at all
MATTERS = 0.01  # of all tensors' divergence together; one below it keeps min-max
BETTER = 0.9  # of min-max's divergence, before its guarantee to cut off nothing is given up


def observe_histograms(
    graph: Graph, placement: Placement, batches: Iterable[Float], others: Iterable[Float] = ()
) -> tuple[dict[str, Histogram], dict[str, Range]]:
    """A histogram of each tensor that may get a quantizer, and the range that nothing lies outside of.

    Args:
        batches: (n, C, H, W) float32, normalised.
        others: batches that may widen ranges, and are no part of the histograms.
    """
    observer = Observer(graph, placement.roles, [Summary.LOW, Summary.HIGH, Summary.SAMPLE])
    histograms = {name: Histogram() for name in placement.roles}
    for found in observer.over(batches):
        for name, summaries in found.items():
            histograms[name].add(seen_range(summaries), summaries[Summary.SAMPLE])
    ranges = {name: histogram.extremes for name, histogram in histograms.items()}
    for found in observer.over(others):
        ranges = {name: wider(ranges[name], seen_range(summaries)) for name, summaries in found.items()}
    return histograms, ranges


class Chosen(NamedTuple):
    """A range, and the method that found it."""

    method: str
    range: Range


class Measured(NamedTuple):
    """Ranges, and what they cost.

    Args:
        ranges: of every tensor.
        costs: KL divergence of the logits, nats, that each tensor costs alone, of those that a layer or a skip reads;
            on all images where it matters.
    """

    ranges: dict[str, Chosen]
    costs: dict[str, float]


class Searched(NamedTuple):
    """What a search began with, and what it found."""

    widest: Measured
    best: Measured


def search_ranges(
    graph: Graph,
    placement: Placement,
    histograms: dict[str, Histogram],
    widest: dict[str, Chosen],
    images: Float,
    on_tensor: Callable[[], None] = lambda: None,
    signed: Collection[str] = (),
) -> Searched:
    """The range of each tensor of a placement.

    Args:
        widest: min-max ranges, which are kept unless another is clearly better; others are known, and stay.
        images: (n, C, H, W) float32, normalised; not the ones behind the histograms.
        on_tensor: called after each tensor that was tried.
        signed: tensors whose quantizers have signed codes and no zero-point.
    """
    alone = Alone(graph, placement, TRIED, images, signed)
    few = slice(None, None, -(-len(images) // SCREENING))  # enough to see which tensors matter
    half, other = slice(None, None, 2), slice(1, None, 2) if len(images) > 1 else EVERY
    costs: dict[str, float] = {}
    screened = in_order(lambda name: alone.divergence(name, widest[name].range, few), alone.tensors)
    for name, cost in zip(alone.tensors, screened, strict=True):
        costs[name] = cost
        on_tensor()
    least = MATTERS * sum(costs.values())
    chosen, best_costs = dict(widest), dict(costs)

    def searched(name: str) -> tuple[Chosen, float, float]:
        """What was chosen, what min-max costs, and what the choice costs."""
        known = widest[name]
        ranges = {known.method: known.range}
        if known.method == MIN_MAX:
            ranges = candidates(histograms[name]) | ranges
        # Half of the images name the best; then the others are asked as well whether it is better at all.
        first = {known.method: costs[name]} if few == half else {}
        first |= {method: alone.divergence(name, ranges[method], half) for method in ranges if method not in first}
        best = min(first, key=first.__getitem__)
        both = {
            method: (first[method] + alone.divergence(name, ranges[method], other)) / 2
            for method in (known.method, best)
        }
        choice = Chosen(best, ranges[best]) if both[best] < BETTER * both[known.method] else known
        return choice, both[known.method], both[choice.method]

    mattering = [name for name, cost in costs.items() if cost >= least]
    for name, (choice, cost, best_cost) in zip(mattering, in_order(searched, mattering), strict=True):
        chosen[name], costs[name], best_costs[name] = choice, cost, best_cost
    return Searched(Measured(widest, costs), Measured(chosen, best_costs))
