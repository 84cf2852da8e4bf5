"""Where values stand on an axis, and which of its ticks have a label."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Spec = dict[str, Any]

FAR_APART = 4  # times: beyond this, a linear axis leaves the smaller values no room
FEWEST = 3  # labelled ticks: two do not tell a logarithmic axis from a linear one
CHARACTER, GAP, LEAST_GAP = 7, 16, 5  # pixels of a label's digit, and between two labels


class Scale(NamedTuple):
    """From the left or lower end of an axis to the other."""

    low: float
    high: float
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value stands, 0..1 from the low end."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value(self, share: float) -> float:
        """What stands there."""
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)


def fitting(low: float, high: float) -> Scale:
    """A scale with some room around values above zero; logarithmic where they are far apart."""
    if high > FAR_APART * low:
        return Scale(low / 1.15, high * 1.25, logarithmic=True)
    margin = 0.1 * (high - low) + 0.01 * high
    return Scale(max(0.0, low - margin), high + margin)


def encoding(scale: Scale, length: int) -> Spec:
    """A horizontal axis of so many pixels, as Vega-Lite has it."""
    drawn: Spec = {"domain": [scale.low, scale.high], "nice": False}
    drawn |= {"type": "log"} if scale.logarithmic else {"zero": False}
    # Six digits, the default, would round the ticks of a narrow range to the same label.
    return {"scale": drawn, "axis": {"values": ticks(scale, length), "format": ".8~g"}}


# Digits of each power of ten, or of every second or third: the first that are few enough and not too few are used.
POWERS: tuple[tuple[tuple[float, ...], int], ...] = (
    ((1, 2, 5), 1),
    ((1,), 1),
    ((1, 3), 1),
    ((1, 1.5, 2, 3, 5, 7), 1),
    ((1,), 2),
    ((1,), 3),
)


def ticks(scale: Scale, length: int) -> list[float]:
    """At least three wherever their labels have room: by ``POWERS``, else in even steps."""
    powers = POWERS if scale.logarithmic else ()
    choices = [*(_of_powers(scale, digits, apart) for digits, apart in powers), *_even(scale)]
    for gap in (GAP, LEAST_GAP):
        fit = [choice for choice in choices if not _crowded(choice, scale, length, gap)]
        enough = [choice for choice in fit if len(choice) >= FEWEST]
        if enough:
            return enough[0]
    return max(fit, key=len)


def _of_powers(scale: Scale, digits: Sequence[float], apart: int) -> list[float]:
    powers = range(math.floor(math.log10(scale.low)), math.floor(math.log10(scale.high)) + 1)
    found = [_exact(digit, power) for power in powers if power % apart == 0 for digit in digits]
    return [tick for tick in found if scale.low <= tick <= scale.high]


def _even(scale: Scale) -> Iterator[list[float]]:
    """Multiples of 1, 2 or 5 times a power of ten, the finest first; in the end only one or none of them."""
    finest = math.floor(math.log10(scale.high - scale.low)) - 2
    for power in range(finest, finest + 4):
        for step in (1, 2, 5):
            size = step * 10.0**power
            multiples = range(math.ceil(scale.low / size), math.floor(scale.high / size) + 1)
            yield [_exact(step * multiple, power) for multiple in multiples]


def _exact(digits: float, power: int) -> float:
    """Such as 0.3, where 3 * 10.0**-1 is 0.30000000000000004."""
    return float(f"{digits}e{power}")


def _crowded(found: Sequence[float], scale: Scale, length: int, gap: int) -> bool:
    places = [length * scale.share(tick) for tick in found]
    halves = [CHARACTER * len(f"{tick:.8g}") / 2 for tick in found]
    return any(
        places[index + 1] - places[index] < halves[index] + halves[index + 1] + gap for index in range(len(found) - 1)
    )
