"""The ladder: each rung is one more means against lost accuracy, and stays only if images held out say that it helps.

1. placement and min-max ranges, per-channel weights; 2. the range of each tensor; 3. second-order rounding and bias
correction; 4. equalization; 5. float layers, where they cost hardly any time. ``fast`` climbs the first three,
``balanced`` all.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.data.sets import ImageSet
from edgecnn.data.split import hold_block, spread
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.macs import layer_macs
from edgecnn.graph.session import in_chunks, inference_session, logits
from edgecnn.names import EFFORTS
from edgecnn.parity import compare, six_digits
from edgecnn.progress import Progress
from edgecnn.quant.calibrate import BATCH, Range, observe_ranges, wider
from edgecnn.quant.equalize import equalize
from edgecnn.quant.histogram import MIN_MAX, Histogram, candidates
from edgecnn.quant.islands import float_islands
from edgecnn.quant.lower.profiles import OPENVINO
from edgecnn.quant.lower.qdq import Profile, lower
from edgecnn.quant.pixels import PIXELS, on_pixel_grid
from edgecnn.quant.placement import Placement, Role, place
from edgecnn.quant.ranges import Chosen, observe_histograms, search_ranges
from edgecnn.quant.refine import refine, refinement_images
from edgecnn.quant.sensitivity import tensor_sensitivities
from edgecnn.quant.switches import Switches
from edgecnn.quant.table import QuantizerTable, make_table
from edgecnn.recipe import Preprocess

MOST_HELD_OUT = 256  # images that judge rungs
SEARCH_IMAGES = 32  # of those, that try ranges, or as many as make
SEARCH_PIXELS = 8 * 224**2


@dataclass(frozen=True)
class Rung:
    """What the held-out images said of one rung.

    Args:
        kept: it was better than the rung kept before it, by KL divergence.
        ranges: how many tensors have their range by each method.
        elapsed_s: of this rung; it is no part of a manifest.
    """

    name: str
    kept: bool
    n: int
    agreement: float
    sqnr_db: float
    kl: float
    ranges: dict[str, int]
    float_layers: tuple[str, ...]
    elapsed_s: float

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on; numbers carry six digits, and no clock."""
        document = asdict(self)
        del document["elapsed_s"]
        return six_digits(document)  # type: ignore[no-any-return]  # a dict in, a dict out


@dataclass(frozen=True)
class Climbed:
    """The graph that the best rung quantizes, its table, and every rung's evidence."""

    graph: Graph
    table: QuantizerTable
    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class _Candidate:
    graph: Graph
    ranges: dict[str, Chosen]
    table: QuantizerTable
    refined: bool = False  # its weights are rounded and its biases corrected, together


def climb(
    graph: Graph, images: ImageSet, how: Preprocess, effort: str, profile: Profile, progress: Progress
) -> Climbed:
    """The best table that an effort finds.

    Args:
        images: calibration images, at least eight; a block of them is held out and judges the rungs.
        effort: ``fast`` or ``balanced``.
        profile: of the runtime that the table is for.
    """
    observing, held_out = hold_block(images)
    judging = np.concatenate(list(spread(held_out, MOST_HELD_OUT).batches(how, BATCH)))
    refining = refinement_images(graph, observing, how)
    judge = _Judge(graph, judging, profile)
    # Signed codes reach 127 on either side of zero, and pixels 128 on one.
    graph, exact = (graph, {}) if profile.symmetric else on_pixel_grid(graph, how)

    with progress.stage("calibrate", len(observing)):
        candidate, histograms = _min_max(graph, exact, observing, judging, how, profile, progress.advance)
    judge.consider(MIN_MAX, candidate)

    with progress.stage("search ranges", len(histograms)):
        candidate = _searched(candidate, histograms, judging, profile, progress.advance)
    judge.consider("range search", candidate)

    candidate = _refined(judge.best, refining, profile, progress)
    judge.consider("rounding and bias", candidate)

    if effort != EFFORTS[0]:
        with progress.stage("equalize"):
            other = equalize(graph, in_chunks(refining, BATCH))
        if other.sha256 != graph.sha256:
            with progress.stage("calibrate", len(observing)):
                candidate, histograms = _min_max(other, exact, observing, judging, how, profile, progress.advance)
            candidate = _by_methods(candidate, histograms, judge.best.ranges, profile)
            judge.consider("equalization", _refined(candidate, refining, profile, progress))
        candidate = _with_islands(judge.best, judging, profile)
        if candidate.table is not judge.best.table:
            if candidate.refined:
                candidate = _refined(candidate, refining, profile, progress)
            judge.consider("float layers", candidate)
    return Climbed(judge.best.graph, profile.kept(judge.best.table), tuple(judge.rungs))


class _Judge:
    """Holds every candidate against the FP32 graph on held-out images, and remembers the best."""

    def __init__(self, graph: Graph, images: Float, profile: Profile) -> None:
        self.rungs: list[Rung] = []
        self._images, self._profile = images, profile
        self._want = _logits(graph, images)
        self._best: tuple[float, _Candidate] | None = None
        self._started = time.monotonic()

    @property
    def best(self) -> _Candidate:
        assert self._best is not None  # noqa: S101 - the first rung is always considered
        return self._best[1]

    def consider(self, name: str, candidate: _Candidate) -> None:
        table = self._profile.kept(candidate.table)
        parity = compare(self._want, _logits(lower(candidate.graph, table, self._profile), self._images))
        kept = self._best is None or parity.kl < self._best[0]
        if kept:
            self._best = (parity.kl, candidate)
        methods = [candidate.ranges[tensor].method for tensor in table.activations]
        int8 = {layer.node for layer in table.layers}
        now = time.monotonic()
        self.rungs.append(
            Rung(
                name=name,
                kept=kept,
                n=parity.n,
                agreement=parity.agreement,
                sqnr_db=parity.sqnr_db,
                kl=parity.kl,
                ranges={method: methods.count(method) for method in sorted(set(methods))},
                float_layers=tuple(layer for layer in place(candidate.graph).layers if layer not in int8),
                elapsed_s=now - self._started,
            )
        )
        self._started = now


def _min_max(
    graph: Graph,
    exact: dict[str, Range],
    observing: ImageSet,
    judging: Float,
    how: Preprocess,
    profile: Profile,
    on_images: Callable[[int], None],
) -> tuple[_Candidate, dict[str, Histogram]]:
    """The whole range of every image: held-out ones may widen it, for it shall cut off nothing.

    Args:
        exact: ranges that are known and need no images.
    """
    placement = place(graph)
    histograms = observe_histograms(graph, placement, observing.batches(how, BATCH, on_images))
    held_out = observe_ranges(graph, placement.roles, in_chunks(judging, BATCH))
    ranges = {
        name: Chosen(MIN_MAX, wider(histogram.extremes, held_out[name])) for name, histogram in histograms.items()
    } | {name: Chosen(PIXELS, found) for name, found in exact.items()}
    return _Candidate(graph, ranges, _table(graph, placement, ranges, profile)), histograms


def _searched(
    candidate: _Candidate,
    histograms: dict[str, Histogram],
    judging: Float,
    profile: Profile,
    on_tensor: Callable[[], None],
) -> _Candidate:
    placement = place(candidate.graph)
    signed = profile.signed(candidate.graph, placement)
    found = search_ranges(candidate.graph, placement, histograms, candidate.ranges, _some(judging), on_tensor, signed)
    return _Candidate(candidate.graph, found, _table(candidate.graph, placement, found, profile))


def _some(judging: Float) -> Float:
    """Those of the held-out images that tensors are quantized alone on."""
    count = min(SEARCH_IMAGES, max(1, SEARCH_PIXELS // judging[0, 0].size))
    return judging[:: -(-len(judging) // count)]


def _with_islands(candidate: _Candidate, judging: Float, profile: Profile) -> _Candidate:
    """The candidate with its costliest small layers in float, or as it is."""
    placement = place(candidate.graph)
    signed = profile.signed(candidate.graph, placement)
    switches = Switches(candidate.graph, placement, {Role.INPUT}, _some(judging), signed)
    ranges = {name: chosen.range for name, chosen in candidate.ranges.items()}
    islands = float_islands(tensor_sensitivities(switches, ranges), candidate.table, layer_macs(candidate.graph))
    return replace(candidate, table=candidate.table.without(islands)) if islands else candidate


def _by_methods(
    candidate: _Candidate, histograms: dict[str, Histogram], chosen: dict[str, Chosen], profile: Profile
) -> _Candidate:
    """The ranges that the methods chosen for the same tensors find now."""
    ranges = dict(candidate.ranges)
    for name, choice in chosen.items():
        found = candidates(histograms[name])
        if choice.method != MIN_MAX and choice.method in found:
            ranges[name] = Chosen(choice.method, found[choice.method])
    return _Candidate(candidate.graph, ranges, _table(candidate.graph, place(candidate.graph), ranges, profile))


def _refined(candidate: _Candidate, images: Float, profile: Profile, progress: Progress) -> _Candidate:
    # As it will run. What runtimes with zero-points share is refined once, with every layer INT8, as OpenVINO has it.
    refined = profile if profile.symmetric else OPENVINO
    with progress.stage("refine layers", len(refined.kept(candidate.table).layers)):
        table = refine(candidate.graph, candidate.table, images, progress.advance, refined)
    return replace(candidate, table=table, refined=True)


def _table(graph: Graph, placement: Placement, ranges: dict[str, Chosen], profile: Profile) -> QuantizerTable:
    return make_table(
        graph, placement, {name: chosen.range for name, chosen in ranges.items()}, profile.signed(graph, placement)
    )


def _logits(graph: Graph, images: Float) -> Float:
    """Of a graph, its integers computed in float: kernels that round otherwise are not what is judged here."""
    return logits(inference_session(with_batch(graph, None).content, int8_kernels=False), images)
