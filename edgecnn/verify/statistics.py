"""Accuracy of two models on the same labelled images, as the paired experiment that it is."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.preprocess import Float

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution
NEGLIGIBLE = 1e-17  # of a sum of floats


@dataclass(frozen=True)
class Accuracy:
    """Reference and candidate on the same images.

    Args:
        top1: of the candidate, 0..1; ``top1_reference`` of the reference; ``top5`` likewise.
        drop_pp: what the candidate loses, percentage points.
        drop_ci95_pp: paired 95 % interval of the drop, percentage points.
        mcnemar_p: two-sided exact p of the two being equally good.
    """

    n: int
    top1: float
    top1_reference: float
    top5: float
    top5_reference: float
    drop_pp: float
    drop_ci95_pp: tuple[float, float]
    mcnemar_p: float


def accuracy(reference: Float, candidate: Float, labels: NDArray[np.int64]) -> Accuracy:
    """From logits ``(N, K)`` of both and labels ``(N,)``."""
    right = reference.argmax(1) == labels
    candidate_right = candidate.argmax(1) == labels
    lost, won = int((right & ~candidate_right).sum()), int((~right & candidate_right).sum())
    n = len(labels)
    return Accuracy(
        n=n,
        top1=float(candidate_right.mean()),
        top1_reference=float(right.mean()),
        top5=top_k(candidate, labels, 5),
        top5_reference=top_k(reference, labels, 5),
        drop_pp=100 * (lost - won) / n,
        drop_ci95_pp=paired_interval_pp(lost, won, n),
        mcnemar_p=mcnemar_p(lost, won),
    )


def top_k(logits: Float, labels: NDArray[np.int64], k: int) -> float:
    """Share of images whose label is among the ``k`` largest logits."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def paired_interval_pp(lost: int, won: int, n: int) -> tuple[float, float]:
    """95 % interval of the drop, percentage points, from the discordant pairs.

    Agresti and Min 2005 (Statistics in Medicine 24, 729-740): half an observation is added to each cell, so that no
    discordant pair in a few images does not pass for certainty, as it would in Wald's interval.
    """
    b, c, size = lost + 0.5, won + 0.5, n + 2
    centre = (b - c) / size
    half = Z95 * math.sqrt(b + c - (b - c) ** 2 / size) / size
    return 100 * max(-1.0, centre - half), 100 * min(1.0, centre + half)


def share_interval(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of ``n`` images, 0..1 (Wilson 1927, JASA 22, 209-212)."""
    z2 = Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar_p(lost: int, won: int) -> float:
    """Two-sided, the exact form of McNemar's test (1947): the discordant pairs as tosses of a fair coin."""
    tosses, most = lost + won, min(lost, won)
    share, tail = 1.0, 0.0  # of what the most heads have, and of all from there on down
    for heads in range(most, -1, -1):
        tail += share
        share *= heads / (tosses - heads + 1)
        if share < NEGLIGIBLE * tail:
            break
    return min(1.0, 2 * tail * (math.comb(tosses, most) / (1 << tosses)))  # Python divides integers of any length
