"""What a rung of the ladder leaves behind: its evidence on held-out images, and the candidate that is kept."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.preprocess import Float
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import logits, shared_session
from edgecnn.parity import Parity, compare, six_digits
from edgecnn.quant.alone import EVERY
from edgecnn.quant.lower.qdq import Profile, lower
from edgecnn.quant.placement import place
from edgecnn.quant.ranges import Chosen
from edgecnn.quant.table import QuantizerTable

# What a rung has to add to the signal-to-noise ratio on held-out images, which are few and tell little apart.
DOUBT_DB = -3.0  # of what nearly always helps: it is turned down where it doubles the noise
BETTER_DB = 0.0
CLEARLY_DB = 3.0  # half the noise, before a rung is worth the work of a second calibration and refinement
WORTH_DB = 0.5  # a ninth of the noise, of layers in float, for the time that they take
DOUBT = 0.05  # that a ladder may stop early with: one-sided


@dataclass(frozen=True)
class Slowdown:
    """How many times as long one table's network takes on this machine as another's: above 1 it is slower.

    Args:
        ratio: of medians over rounds in turns.
        ratio_ci95: its bootstrap interval.
    """

    ratio: float
    ratio_ci95: tuple[float, float]


# What each of the other tables' networks takes, built for the device and run on it in turns, over the first one's.
Timer = Callable[[Graph, Sequence[QuantizerTable]], list[Slowdown]]


@dataclass(frozen=True)
class Rung:
    """What the held-out images said of one rung.

    Args:
        kept: its noise was little enough against that of the rung kept before it.
        ranges: how many tensors have their range by each method.
        refined: weights were rounded to second order and biases corrected.
        top1: share of right answers, 0..1, where the held-out images have labels; ``top1_reference`` is FP32's.
        slowdown: against the rung kept before, where other layers are INT8 and the device is here. Like ``elapsed_s``
            it is of one machine and one moment, and no part of a manifest.
    """

    name: str
    kept: bool
    n: int
    agreement: float
    sqnr_db: float
    kl: float
    ranges: dict[str, int]
    float_layers: tuple[str, ...]
    refined: bool
    elapsed_s: float
    top1: float | None = None
    top1_reference: float | None = None
    slowdown: Slowdown | None = None

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on; numbers carry six digits, and no clock."""
        document = asdict(self)
        del document["elapsed_s"], document["slowdown"]
        return six_digits(document)  # type: ignore[no-any-return]  # a dict in, a dict out

    def timed_json(self) -> dict[str, Any]:
        """``as_json``, and the clock's two keys."""
        timed = self.slowdown and {"ratio": self.slowdown.ratio, "ratio_ci95": list(self.slowdown.ratio_ci95)}
        return self.as_json() | {"elapsed_s": round(self.elapsed_s, 3), "slowdown": six_digits(timed)}


@dataclass(frozen=True)
class Candidate:
    """A way to quantize: the graph that is, the ranges of its tensors, and the table they give.

    Args:
        refined: its weights are rounded and its biases corrected, together.
    """

    graph: Graph
    ranges: dict[str, Chosen]
    table: QuantizerTable
    refined: bool = False


class Judge:
    """Holds every candidate against the FP32 graph on held-out images, and remembers the one that it kept last.

    Args:
        images: (n, C, H, W) float32, normalised.
        labels: (n,) class indices, or None.
    """

    def __init__(self, graph: Graph, images: Float, labels: NDArray[np.int64] | None, profile: Profile) -> None:
        self.rungs: list[Rung] = []
        self._images, self._labels, self._profile = images, labels, profile
        self._want = _logits(graph, images)
        self._best: tuple[Parity, Candidate] | None = None
        self._started = time.monotonic()

    @property
    def best(self) -> Candidate:
        """The candidate kept last. A rung may stay with up to 3 dB more noise, so an earlier one may have had less."""
        assert self._best is not None  # noqa: S101 - the first rung is always considered
        return self._best[1]

    def consider(
        self, name: str, candidate: Candidate, gain_db: float = BETTER_DB, slowdown: Slowdown | None = None
    ) -> None:
        """Keeps a candidate if it has so much less noise than the one kept before it, and its evidence in any case.

        Noise, because it ranks candidates as thousands of other images do more often than divergence, of which a few
        unsure images make the most.

        Args:
            gain_db: of the signal-to-noise ratio, at least; below 0 it may have so much more noise. The first candidate
                is kept whatever it has.
        """
        answers = self._answers(candidate, EVERY)
        parity = compare(self._want, answers)
        kept = self._best is None or parity.sqnr_db >= self._best[0].sqnr_db + gain_db
        if kept:
            self._best = (parity, candidate)
        self._note(name, candidate, answers, parity, EVERY, kept, slowdown)

    def prefers(self, name: str, candidate: Candidate, plain: Candidate, some: slice) -> bool:
        """Whether a candidate is worth more work: clearly better than what it comes from, on some of the images.

        Where it is not, a row says so.
        """
        answers = self._answers(candidate, some)
        found, before = (compare(self._want[some], got) for got in (answers, self._answers(plain, some)))
        better = found.sqnr_db >= before.sqnr_db + CLEARLY_DB
        if not better:
            self._note(name, candidate, answers, found, some, kept=False)
        return better

    def proves(self, max_drop_pp: float) -> bool:
        """Whether the candidate kept last is inside a largest drop beyond doubt; then no further rung is needed."""
        kept = [rung for rung in self.rungs if rung.kept][-1]
        return round((1 - kept.agreement) * kept.n) <= most_changes(kept.n, max_drop_pp)

    def _note(
        self,
        name: str,
        candidate: Candidate,
        answers: Float,
        parity: Parity,
        some: slice,
        kept: bool,
        slowdown: Slowdown | None = None,
    ) -> None:
        table = self._profile.kept(candidate.table)
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
                refined=candidate.refined,
                elapsed_s=now - self._started,
                top1=self._top1(answers, some),
                top1_reference=self._top1(self._want[some], some),
                slowdown=slowdown,
            )
        )
        self._started = now

    def _answers(self, candidate: Candidate, some: slice) -> Float:
        lowered = lower(candidate.graph, self._profile.kept(candidate.table), self._profile)
        return _logits(lowered, self._images[some])

    def _top1(self, answers: Float, some: slice) -> float | None:
        return None if self._labels is None else float((answers.argmax(axis=1) == self._labels[some]).mean())


def most_changes(n: int, max_drop_pp: float) -> int:
    """The most answers that may change on ``n`` images so that a share above the largest drop is refuted; -1 if none.

    A drop is never larger than the share of changed answers. The exact one-sided binomial test (Clopper and Pearson
    1934, Biometrika 26, 404-413) wants 299 images with none changed for one percentage point.
    """
    share = max_drop_pp / 100
    below, changes = 0.0, -1
    while changes < n:
        below += math.comb(n, changes + 1) * share ** (changes + 1) * (1 - share) ** (n - changes - 1)
        if below > DOUBT:
            break
        changes += 1
    return changes


def _logits(graph: Graph, images: Float) -> Float:
    """Of a graph, its integers computed in float: kernels that round otherwise are not what is judged here."""
    return logits(shared_session(with_batch(graph, None).content, int8_kernels=False), images)
