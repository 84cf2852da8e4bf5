"""How far two sets of logits are apart."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.preprocess import Float
from edgecnn.errors import ParityError

IDENTICAL_DB = 300.0  # stands for an infinite ratio, which JSON cannot hold


@dataclass(frozen=True)
class Parity:
    """Candidate against reference, over all images.

    Args:
        n: images compared.
        max_abs: largest difference of a logit.
        cosine: of all logits as one vector, -1..1.
        sqnr_db: signal to quantization noise of the logits, decibels; 300 where they are identical, never below -300.
        agreement: share of images with the same top-1 answer, 0..1.
        kl: mean KL divergence of the candidate's softmax from the reference's, nats.
    """

    n: int
    max_abs: float
    cosine: float
    sqnr_db: float
    agreement: float
    kl: float


def compare(reference: Float, candidate: Float) -> Parity:
    """Compares logits ``(N, K)``.

    Raises:
        ParityError: nothing to compare, shapes that differ, or values that are not finite.
    """
    if reference.shape != candidate.shape or reference.size == 0:
        raise ParityError(f"nothing was compared: reference logits {reference.shape}, candidate {candidate.shape}")
    for name, logits in (("reference", reference), ("candidate", candidate)):
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            raise ParityError(f"{name} logits of image {int((~finite).argmax())} are not finite")
    a, b = reference.astype(np.float64), candidate.astype(np.float64)
    signal, noise = float((a * a).sum()), float(((a - b) ** 2).sum())
    norm = float(np.sqrt(signal) * np.linalg.norm(b))
    log_p, log_q = _log_softmax(a), _log_softmax(b)
    return Parity(
        n=len(a),
        max_abs=float(np.abs(a - b).max()),
        cosine=float((a * b).sum()) / norm if norm > 0 else float(noise == 0),
        sqnr_db=_decibels(signal, noise),
        agreement=float((a.argmax(1) == b.argmax(1)).mean()),
        kl=float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()),
    )


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return IDENTICAL_DB
    ratio = signal / noise
    return max(-IDENTICAL_DB, min(IDENTICAL_DB, 10 * math.log10(ratio))) if ratio > 0 else -IDENTICAL_DB


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def six_digits(value: Any) -> Any:
    """A JSON value, its floats to six digits: what other kernels' rounding leaves alone, and what a person can read."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: six_digits(item) for key, item in value.items()}
    return [six_digits(item) for item in value] if isinstance(value, list | tuple) else value
