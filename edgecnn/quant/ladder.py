"""The ladder: each rung is one more means against lost accuracy, and images that were held out may turn it down.

1. placement and min-max ranges, per-channel weights; 2. the range of each tensor; 3. second-order rounding and bias
correction; 4. equalization; 5. float layers, where they cost hardly any time; 6. mixed precision, by time measured on
the device. ``fast`` climbs the first three, ``balanced`` five, ``best`` all; each ends early where that is enough.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from edgecnn.data.sets import ImageSet
from edgecnn.data.split import hold_block, spread
from edgecnn.graph.graph import Graph
from edgecnn.graph.macs import layer_macs
from edgecnn.graph.session import as_many, in_chunks, memory_given_back
from edgecnn.names import BALANCED, BEST, FAST
from edgecnn.progress import Progress
from edgecnn.quant.alone import Alone
from edgecnn.quant.bias import Felt, observe_felt
from edgecnn.quant.calibrate import BATCH, Range, observe_ranges
from edgecnn.quant.equalize import equalize, find_groups
from edgecnn.quant.histogram import MIN_MAX, Histogram, candidates
from edgecnn.quant.islands import float_islands
from edgecnn.quant.lower.profiles import OPENVINO
from edgecnn.quant.lower.qdq import Profile
from edgecnn.quant.mixed import mixed_precision, worthwhile
from edgecnn.quant.pixels import PIXELS, on_pixel_grid
from edgecnn.quant.placement import Placement, Role, place
from edgecnn.quant.ranges import TRIED, Chosen, Measured, observe_histograms, search_ranges
from edgecnn.quant.refine import CHUNK, refine, refinement_images
from edgecnn.quant.rungs import DOUBT_DB, WORTH_DB, Candidate, Judge, Rung, Timer
from edgecnn.quant.sensitivity import tensor_sensitivities
from edgecnn.quant.table import QuantizerTable, make_table
from edgecnn.recipe import Preprocess

MOST_HELD_OUT = 256  # images that judge rungs
SEARCH_IMAGES = 32  # of those, that try ranges, or as many as make
SEARCH_PIXELS = 8 * 224**2
CLIMBED = {FAST: 3, BALANCED: 5, BEST: 6}  # rungs, by effort


@dataclass(frozen=True)
class Climbed:
    """The graph that the rung kept last quantizes, its table, and every rung's evidence."""

    graph: Graph
    table: QuantizerTable
    rungs: tuple[Rung, ...]


@memory_given_back()
def climb(
    graph: Graph,
    images: ImageSet,
    how: Preprocess,
    effort: str,
    profile: Profile,
    progress: Progress,
    timer: Timer | None = None,
    max_drop_pp: float = 0.0,
) -> Climbed:
    """The table that an effort ends with: that of the rung kept last.

    Args:
        images: calibration images, at least eight; a block of them is held out and judges the rungs.
        effort: one of ``EFFORTS``.
        profile: of the runtime that the table is for.
        timer: of networks on the device; ``best`` needs one, others say with it what their float layers cost.
        max_drop_pp: the ladder ends at the first rung that is inside it beyond doubt.
    """
    ladder = _Ladder(graph, images, how, profile, progress, timer)
    rungs = (
        ladder.min_max,
        ladder.range_search,
        ladder.rounding_and_bias,
        ladder.equalization,
        ladder.float_layers,
        ladder.mixed_precision,
    )
    for rung in rungs[: CLIMBED[effort]]:
        rung()
        if ladder.judge.proves(max_drop_pp):
            break
    best = ladder.judge.best
    return Climbed(best.graph, profile.kept(best.table), tuple(ladder.judge.rungs))


def judging_images(images: ImageSet) -> ImageSet:
    """Those of a calibration set that judge rungs."""
    return spread(hold_block(images)[1], MOST_HELD_OUT)


class _Ladder:
    """Every rung begins with the candidate kept last, and lets the judge say what became of it."""

    def __init__(
        self,
        graph: Graph,
        images: ImageSet,
        how: Preprocess,
        profile: Profile,
        progress: Progress,
        timer: Timer | None,
    ) -> None:
        self._how, self._profile, self._progress, self._timer = how, profile, progress, timer
        self._observing, _ = hold_block(images)
        held_out = judging_images(images)
        self._judging = np.concatenate(list(held_out.batches(how, BATCH)))
        self._refining = refinement_images(graph, self._observing, how)
        self.judge = Judge(graph, self._judging, held_out.labels if held_out.labelled else None, profile)
        # Signed codes reach 127 on either side of zero, and pixels 128 on one.
        self._graph, self._exact = (graph, {}) if profile.symmetric else on_pixel_grid(graph, how)
        self._histograms: dict[str, Histogram] = {}
        self._widest: dict[str, Range] = {}
        self._measured: tuple[Measured, ...] = ()  # of this graph
        self._felt: dict[str, Felt] = {}  # by the graph's sha256
        self._sensitivity: dict[str, float] = {}

    def min_max(self) -> None:
        self._histograms, self._widest = self._observed(self._graph)
        self.judge.consider(MIN_MAX, self._min_max(self._graph, self._widest))

    def range_search(self) -> None:
        graph, placement = self.judge.best.graph, self._place(self.judge.best.graph)
        signed, ranges = self._profile.signed(graph, placement), self.judge.best.ranges
        tried = sum(bool(roles & TRIED) for roles in placement.roles.values())
        with self._progress.stage("search ranges", tried):
            self._measured = searched = search_ranges(
                graph, placement, self._histograms, ranges, self._judging[self._some], self._progress.advance, signed
            )
        found = searched.best.ranges
        self.judge.consider("range search", Candidate(graph, found, self._table(graph, found)), DOUBT_DB)

    def rounding_and_bias(self) -> None:
        self.judge.consider("rounding and bias", self._refined(self.judge.best), DOUBT_DB)

    def equalization(self) -> None:
        with self._progress.stage("equalize"):
            other = equalize(self._graph, in_chunks(self._refining, BATCH))
        rescaled = {tensor for group in find_groups(self._graph) for tensor in group.tensors} & self._widest.keys()
        if other.sha256 == self._graph.sha256 or not rescaled:
            return
        # Few networks need it: it is tried with nothing on top, and the ranges of the images that it is tried on.
        plain, tried = (
            self._min_max(graph, self._widest | self._seen(graph, rescaled)) for graph in (self._graph, other)
        )
        if self.judge.prefers("equalization", tried, plain, self._some):
            histograms, ranges = self._observed(other)
            candidate = self._by_methods(self._min_max(other, ranges), histograms)
            self.judge.consider("equalization", self._refined(candidate))

    def float_layers(self) -> None:
        """Few and small ones, which no device would notice much."""
        best = self.judge.best
        self._sensitivity = self._sensitivities(best)
        islands = float_islands(self._sensitivity, self._profile.kept(best.table), layer_macs(best.graph))
        if not islands:
            return
        candidate = self._refitted(best, best.table.without(islands))
        tables = [self._profile.kept(one.table) for one in (best, candidate)]
        slowdown = self._timer(best.graph, tables)[0] if self._timer is not None else None
        self.judge.consider("float layers", candidate, WORTH_DB, slowdown)

    def mixed_precision(self) -> None:
        """As many as the device has time for."""
        if self._timer is None:
            raise AssertionError("mixed precision is chosen by time on the device")
        best = self.judge.best
        kept = self._profile.kept(best.table)
        with self._progress.stage("time layers", len(worthwhile(self._sensitivity, kept))):
            table, slowdown = mixed_precision(best.graph, kept, self._sensitivity, self._timer, self._progress.advance)
        if table is not kept:
            self.judge.consider("mixed precision", self._refitted(best, table), WORTH_DB, slowdown)

    def _refitted(self, candidate: Candidate, table: QuantizerTable) -> Candidate:
        """A candidate with fewer INT8 layers, whose biases follow where they were corrected."""
        fewer = replace(candidate, table=table)
        return self._refined(fewer) if fewer.refined else fewer

    @property
    def _some(self) -> slice:
        """Those of the held-out images that tensors are quantized alone on."""
        count = min(SEARCH_IMAGES, as_many(self._judging, SEARCH_PIXELS))
        return slice(None, None, -(-len(self._judging) // count))

    def _sensitivities(self, candidate: Candidate) -> dict[str, float]:
        placement = self._place(candidate.graph)
        for ranges, costs in self._measured:
            if candidate.graph is self._graph and candidate.ranges == ranges:
                return {name: costs[name] for name, roles in placement.roles.items() if Role.INPUT in roles}
        signed = self._profile.signed(candidate.graph, placement)
        alone = Alone(candidate.graph, placement, {Role.INPUT}, self._judging[self._some], signed)
        return tensor_sensitivities(alone, {name: chosen.range for name, chosen in candidate.ranges.items()})

    def _observed(self, graph: Graph) -> tuple[dict[str, Histogram], dict[str, Range]]:
        """Histograms, and whole ranges, which shall cut off nothing: held-out images may widen them."""
        with self._progress.stage("calibrate", len(self._observing)):
            batches = self._observing.batches(self._how, BATCH, self._progress.advance)
            return observe_histograms(graph, self._place(graph), batches, in_chunks(self._judging, BATCH))

    def _seen(self, graph: Graph, tensors: Collection[str]) -> dict[str, Range]:
        """Ranges on those of the held-out images that tensors are quantized alone on."""
        return observe_ranges(graph, tensors, in_chunks(self._judging[self._some], BATCH))

    def _place(self, graph: Graph) -> Placement:
        """What the runtime wants: to observe a tensor that it does not quantize takes as long."""
        return place(graph).of(self._profile.roles)

    def _min_max(self, graph: Graph, ranges: dict[str, Range]) -> Candidate:
        chosen = {name: Chosen(MIN_MAX, found) for name, found in ranges.items()}
        chosen |= {name: Chosen(PIXELS, known) for name, known in self._exact.items()}
        return Candidate(graph, chosen, self._table(graph, chosen))

    def _by_methods(self, candidate: Candidate, histograms: dict[str, Histogram]) -> Candidate:
        """A candidate with the ranges that the methods chosen for the same tensors find now."""
        ranges = dict(candidate.ranges)
        for name, choice in self.judge.best.ranges.items():
            found = candidates(histograms[name])
            if choice.method != MIN_MAX and choice.method in found:
                ranges[name] = Chosen(choice.method, found[choice.method])
        return Candidate(candidate.graph, ranges, self._table(candidate.graph, ranges))

    def _refined(self, candidate: Candidate) -> Candidate:
        # As it will run. What runtimes with zero-points share is refined once, every layer INT8, as OpenVINO has it.
        refined = self._profile
        if not refined.symmetric:
            refined = replace(OPENVINO, reduced_range=refined.reduced_range)
        graph, images = candidate.graph, self._refining
        with self._progress.stage("refine layers", len(refined.kept(candidate.table).layers)):
            if graph.sha256 not in self._felt:
                self._felt = {graph.sha256: observe_felt(graph, in_chunks(images, CHUNK))}
            felt, advance = self._felt[graph.sha256], self._progress.advance
            table = refine(graph, candidate.table, images, felt, advance, refined, candidate.refined)
        return replace(candidate, table=table, refined=True)

    def _table(self, graph: Graph, ranges: dict[str, Chosen]) -> QuantizerTable:
        placement = self._place(graph)
        found = {name: chosen.range for name, chosen in ranges.items()}
        signed = self._profile.signed(graph, placement)
        return make_table(graph, placement, found, signed, self._profile.reduced_range)
