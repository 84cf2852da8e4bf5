"""Whether INT8 is worth it on this machine: the artifact in turns with its own FP32 graph in every float precision."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgecnn.bench.latency import Gain, Latency, Race, race
from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.targets.base import BF16, FP16, FP32, INT8, Interface, Session, Target
from edgecnn.verify.coverage import layer_precisions, shares

FLOATS = (FP32, BF16, FP16)
MOSTLY = 0.5  # share of multiply-accumulates that must run in a precision to be called by its name


@dataclass(frozen=True)
class Omitted:
    """A float precision that was not timed, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Versus:
    """Latencies here, the artifact's first, and what INT8 gains.

    Args:
        batch: images per call.
        gains: over every float precision, the fastest first; none unless the artifact is INT8.
    """

    batch: int
    latencies: tuple[Latency, ...]
    gains: tuple[Gain, ...]
    omitted: tuple[Omitted, ...]

    @property
    def gain(self) -> Gain | None:
        """Over the fastest float, which is the one to beat."""
        return self.gains[0] if self.gains else None

    @property
    def verdict(self) -> str:
        """One sentence for people, or empty where there is nothing to compare."""
        if self.gain is None:
            return ""
        low, high = self.gain.ratio_ci95
        measured = f"95 % [{low:.2f}, {high:.2f}], {self.latencies[0].n} rounds"
        against = self.gain.against.upper()
        if self.gain.real:
            return f"INT8 is {self.gain.ratio:.2f}x as fast as {against} here ({measured})"
        noise = ", inside the noise" if high >= 1 else ""
        return f"INT8 is not worth it here: {self.gain.ratio:.2f}x as fast as {against}{noise} ({measured})"

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on. Milliseconds and ratios carry four decimals."""
        gains = [
            {
                "candidate": gain.candidate,
                "against": gain.against,
                "ratio": round(gain.ratio, 4),
                "ratio_ci95": [round(bound, 4) for bound in gain.ratio_ci95],
                "worth_it": gain.real,
            }
            for gain in self.gains
        ]
        return {
            "batch": self.batch,
            "latencies": [
                asdict(row) | {key: round(getattr(row, key), 4) for key in ("p50_ms", "mean_ms", "min_ms")}
                for row in self.latencies
            ],
            "gain": gains[0] if gains else None,
            "gains": gains,
            "omitted": [asdict(row) for row in self.omitted],
            "verdict": self.verdict,
        }


def versus(
    precision: str,
    session: Session,
    target: Target,
    reference: bytes,
    image: Float,
    macs: Mapping[str, int],
    compete: Callable[..., Race] = race,
    on_round: Callable[[], object] = lambda: None,
) -> Versus:
    """Times an artifact and its float rivals in this process.

    Args:
        precision: of the artifact.
        session: the opened artifact.
        reference: its FP32 graph, ONNX bytes.
        image: one batch, preprocessed.
        macs: of one image, by node.
        compete: ``race``, but for tests.
    """
    sessions, omitted = {precision: session}, []
    for name in FLOATS:
        if name == precision:
            continue
        found = _float(name, target, reference, session.interface, macs)
        if isinstance(found, Omitted):
            omitted.append(found)
        else:
            sessions[name] = found
    for rival in sessions.values():
        rival.run(image)  # checks it; what is timed afterwards is the runtime alone
    runs = [(name, lambda rival=rival: rival.run_again(image)) for name, rival in sessions.items()]
    result = compete(runs, on_round=on_round)
    rivals = result.by_median([name for name in sessions if name != precision]) if precision == INT8 else []
    gains = tuple(result.gain(precision, rival) for rival in rivals)
    return Versus(len(image), result.latencies, gains, tuple(omitted))


def _float(
    precision: str, target: Target, reference: bytes, interface: Interface, macs: Mapping[str, int]
) -> Session | Omitted:
    """The rival, if the machine really computes in that precision; runtimes take the wish and do what they like."""
    if precision not in target.float_precisions:
        return Omitted(
            precision, f"target {target.name} computes float layers in {', '.join(target.float_precisions)} only"
        )
    try:
        session = target.open_float(reference, interface, precision)
    except BuildError as error:
        return Omitted(precision, str(error))
    found = shares(layer_precisions(session.executed(), macs), macs)
    most = next(iter(found))
    if most == precision and found[most] > MOSTLY:
        return session
    return Omitted(precision, f"this machine computes in {most} when {precision} is asked for")
