import itertools

import pytest

from edgecnn.report.charts.axes import Scale, encoding, fitting, ticks

ENDS = [(0.47, 9.6), (0.21, 0.37), (0.34, 2.2), (0.2, 330), (0.3, 160), (2.01, 9.9), (2.01, 19.9), (1.1, 900)]
ENDS += [(0.05, 0.18), (9.9, 10.1), (4900, 17000), (0.0012, 5000), (1000.1, 1000.9)]


@pytest.mark.parametrize("length", [270, 540])
@pytest.mark.parametrize(("low", "high"), ENDS)
def test_at_least_three_ticks_that_are_not_crowded(low: float, high: float, length: int) -> None:
    scale = Scale(low, high, logarithmic=True)
    found = ticks(scale, length)
    assert len(found) >= 3
    assert low <= min(found) <= max(found) <= high
    for before, after in itertools.pairwise(found):
        digits = (len(f"{before:.8g}") + len(f"{after:.8g}")) / 2
        assert length * (scale.share(after) - scale.share(before)) > 7 * digits


def test_decades_are_counted_as_they_are_drawn() -> None:
    """From 0.47 to 9.6 there is one and a third, though it touches the powers of -1, 0 and 1."""
    assert ticks(Scale(0.47, 9.6, logarithmic=True), 270) == [0.5, 1, 2, 5]
    assert ticks(Scale(0.2, 330, logarithmic=True), 270) == [1, 10, 100]


def test_a_narrow_range_has_even_steps() -> None:
    assert ticks(Scale(0.21, 0.37, logarithmic=True), 270) == [0.25, 0.3, 0.35]
    assert ticks(Scale(0.21, 0.37), 270) == [0.25, 0.3, 0.35]


def test_values_that_are_far_apart_get_a_logarithmic_axis() -> None:
    assert [fitting(1.0, high).logarithmic for high in (3.9, 4.1)] == [False, True]
    assert encoding(fitting(1.0, 50.0), 270)["scale"]["type"] == "log"
    assert "type" not in encoding(fitting(1.0, 2.0), 270)["scale"]


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_share_and_its_value_are_each_other(logarithmic: bool) -> None:
    scale = Scale(0.5, 8.0, logarithmic)
    assert scale.value(scale.share(2.0)) == pytest.approx(2.0)
    assert scale.share(2.0) == pytest.approx(0.5 if logarithmic else 0.2)
