"""What a run finds out, as data: the tables and the JSON file say the same."""

from dataclasses import dataclass

from edgecnn.parity import Parity
from edgecnn.verify.statistics import Accuracy
from tools.bench_int8.cases import Case


@dataclass(frozen=True)
class Ratio:
    """A share of another candidate's latency, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Latency:
    """Of one inference, milliseconds, over rounds.

    Args:
        of_fp32: this candidate's latency as a share of FP32's in the same runtime.
        edgecnn_takes: edgecnn's latency as a share of this candidate's.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    of_fp32: Ratio | None
    edgecnn_takes: Ratio | None


@dataclass(frozen=True)
class Row:
    """One candidate. What it lacks, ``error`` explains in one line.

    Args:
        build_s: seconds that quantizing and compiling for the accuracy comparison took, calibration counted; edgecnn
            calibrates once, in the row of its first runtime.
        agreement_ci95: of the parity's agreement.
        accuracy: None without labels.
    """

    runtime: str
    quantizer: str
    build_s: float | None = None
    parity: Parity | None = None
    agreement_ci95: tuple[float, float] | None = None
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    error: str = ""


@dataclass(frozen=True)
class Settings:
    """How much is measured, the same for every candidate.

    Args:
        threads: of every runtime.
        rounds: in each of which every candidate has its turn.
        inferences: of a turn; its figure is their median.
        judging_images: at most; None is all of them.
        calibration_images: at most; None is the whole set.
    """

    threads: int = 2
    rounds: int = 120
    inferences: int = 5
    judging_images: int | None = None
    calibration_images: int | None = None


@dataclass(frozen=True)
class CaseResult:
    """One model's rows. Where nothing could be compared, ``error`` says why.

    Args:
        judged: name and number of the images behind accuracy, or empty.
        side: pixels of the input that accuracy was compared at.
        load: of the machine when latency had been measured; two busy threads of our own make 2 of it.
    """

    case: Case
    calibrated: str = ""
    judged: str = ""
    side: int = 0
    load: float | None = None
    rows: tuple[Row, ...] = ()
    error: str = ""

    def row(self, runtime: str, quantizer: str) -> Row | None:
        """The row of a candidate, if there is one."""
        return next((row for row in self.rows if (row.runtime, row.quantizer) == (runtime, quantizer)), None)


@dataclass(frozen=True)
class Report:
    """One run of the command."""

    machine: dict[str, str]
    settings: Settings
    cases: tuple[CaseResult, ...]
    elapsed_s: float

    @property
    def errors(self) -> list[str]:
        """Of whole cases and of single candidates."""
        found = [f"{result.case.model}: {result.error}" for result in self.cases if result.error]
        for result in self.cases:
            found += [
                f"{result.case.model}, {row.quantizer} on {row.runtime}: {row.error}"
                for row in result.rows
                if row.error
            ]
        return found
