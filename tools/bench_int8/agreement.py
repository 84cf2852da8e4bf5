"""How sure a share of agreeing answers is."""

import numpy as np

from edgecnn.bench.resample import RESAMPLES, interval
from edgecnn.data.preprocess import Float


def agreement_interval(reference: Float, logits: Float, together: int) -> tuple[float, float]:
    """95 % interval of the share of images with the reference's answer, by resampling photographs.

    A percentile bootstrap (Efron 1979, Annals of Statistics 7, 1-26) of what repeats: views of one photograph err
    together.

    Args:
        reference, logits: (n, classes) float32.
        together: neighbours that are views of one photograph; their number divides ``n``.
    """
    agreed = (reference.argmax(axis=1) == logits.argmax(axis=1)).reshape(-1, together).mean(axis=1)
    random = np.random.default_rng(0)
    shares = [agreed[random.integers(0, len(agreed), len(agreed))].mean() for _ in range(RESAMPLES)]
    return interval(np.array(shares))
