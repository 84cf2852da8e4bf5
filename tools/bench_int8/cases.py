"""What is compared, and the figures that edgecnn's OpenVINO artifact must reach."""

from dataclasses import dataclass

from tools.bench_int8.images import PHOTOGRAPHS

TIMED_SIDE = 224  # pixels; latency is compared where these networks are used, also where their weights know 64 alone


@dataclass(frozen=True)
class Goals:
    """Bounds; None where nothing is asked.

    Args:
        drop_pp: largest loss of top-1, percentage points.
        agreement: smallest share of the FP32 model's own answers, 0..1.
        sqnr_db: smallest signal to quantization noise of the logits, decibels.
        latency_ratio: largest share of the latency of NNCF's model.
    """

    latency_ratio: float
    drop_pp: float | None = None
    agreement: float | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class Case:
    """One model.

    Args:
        judged_on: ``fashion-mnist-test``, ``PHOTOGRAPHS``, or None for latency alone.
    """

    model: str
    weights: str
    judged_on: str | None
    goals: Goals


CASES = (
    Case("efficientnet_lite0", "imagenet", PHOTOGRAPHS, Goals(0.85, agreement=0.99, sqnr_db=26)),
    Case("efficientnet_b0", "builtin", "fashion-mnist-test", Goals(0.55, drop_pp=0.15, agreement=0.995)),
    Case("mobilenetv3_large", "builtin", "fashion-mnist-test", Goals(0.62, drop_pp=0.15, agreement=0.997)),
    Case("mobilenetv3_small", "builtin", "fashion-mnist-test", Goals(0.72, drop_pp=0.15, agreement=0.996)),
    Case("mobilenetv2", "random", None, Goals(0.68)),
)
