"""One table of several runtimes' layers: every kernel counts once, and milliseconds are of the row's own median."""

import pytest
from msgspec.structs import replace

from edgecnn.bench.modules import REFORMATTING, layer_table
from edgecnn.bench.record import LayerTime, Row
from tests.made_up import row


def profiled(name: str, median_ms: float, *kernels: tuple[str, str, float]) -> Row:
    """A row with these kernels: module, kind and the profiler's milliseconds."""
    whole = sum(ms for _, _, ms in kernels)
    layers = tuple(LayerTime(module, kind, "int8", ms, ms / whole) for module, kind, ms in kernels)
    return row(name, median_ms, layers=layers)


FUSED = profiled("small-openvino-int8", 1.0, ("image", "Subgraph", 0.1), ("0.0", "Convolution", 0.3), ("1", "FC", 0.1))
SPLIT = profiled(
    "small-onnxruntime-int8",
    2.0,
    ("", "Transpose", 1.0),
    ("0.0", "QLinearConv", 1.0),
    ("0.0", "DequantizeLinear", 1.0),
    ("0.2", "HardSigmoid", 0.5),
    ("0.2", "Mul", 0.5),
    ("1", "QGemm", 1.0),
)


def test_rows_are_joined_by_module() -> None:
    table = layer_table([row("eager", 9.0), FUSED, SPLIT])
    assert [made.name for made in table.rows] == ["small-openvino-int8", "small-onnxruntime-int8"]
    assert [line.name for line in table.modules] == ["0.0", "1", "0.2"], "the largest share in any row first"
    shares = [[part and round(part.share, 3) for part in line.parts] for line in table.modules]
    assert shares == [[0.6, 0.2], [0.2, 0.2], [None, 0.2]]
    split = table.modules[2].parts[1]
    assert split is not None
    assert (split.kinds, split.precisions) == (("HardSigmoid", "Mul"), ("int8",))


def test_what_belongs_to_no_module_is_one_line() -> None:
    """Reorders, quantization, whoever's name it goes by, and what prepares the image."""
    (line,) = layer_table([FUSED, SPLIT]).sums
    assert line.name == REFORMATTING
    assert [part and round(part.share, 3) for part in line.parts] == [0.2, 0.4]
    assert line.parts[1] is not None
    assert line.parts[1].kinds == ("Transpose", "DequantizeLinear")


@pytest.mark.parametrize("most", [1, 2, 20])
def test_lines_sum_to_the_median_of_their_row(most: int) -> None:
    table = layer_table([FUSED, SPLIT], most)
    for column, made in enumerate(table.rows):
        parts = [line.parts[column] for line in (*table.modules, *table.sums)]
        assert made.times is not None
        assert sum(part.ms for part in parts if part) == pytest.approx(made.times.p50_ms)
        assert sum(part.share for part in parts if part) == pytest.approx(1)


@pytest.mark.parametrize(("most", "said"), [(1, "(2 other modules)"), (2, "(1 other module)")])
def test_the_others_are_counted(most: int, said: str) -> None:
    table = layer_table([FUSED, SPLIT], most)
    assert len(table.modules) == most
    assert table.sums[0].name == said


def test_kernels_that_took_no_time_have_no_share() -> None:
    table = layer_table([replace(FUSED, layers=(LayerTime("0.0", "Math", "fp32", 0.0, 0.0),))])
    part = table.modules[0].parts[0]
    assert part is not None
    assert (part.ms, part.share, table.sums) == (0.0, 0.0, ())


def test_nothing_is_joined_to_nothing() -> None:
    table = layer_table([row("eager", 9.0)])
    assert (table.rows, table.modules, table.sums) == ((), (), ())
