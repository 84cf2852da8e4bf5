"""Numbers beside the points of a chart, none on top of another."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NEAR = 14  # pixels between points that share a label
CHARACTER, HEIGHT = 7.5, 14  # pixels of a label's digit and line
ASIDE, ABOVE = 7, 12  # pixels from a point to the label's end, and to its middle
RADIUS = 5  # pixels of a point


class Point(NamedTuple):
    """Pixels from the plot's upper left corner."""

    text: str
    x: float
    y: float


class Box(NamedTuple):
    """Pixels likewise."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        """Whether they have a pixel in common."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def labels(points: Sequence[Point], width: int, height: int) -> list[Point]:
    """One label for all points that are near each other, such as 1,2,4; placed by its left end and its middle."""
    taken = [Box(point.x - RADIUS, point.y - RADIUS, point.x + RADIUS, point.y + RADIUS) for point in points]
    found = []
    for group in _near(points):
        text = ",".join(point.text for point in group)
        places = list(_places(group, CHARACTER * len(text), height))
        free = (box for box in places if _inside(box, width, height) and not any(map(box.overlaps, taken)))
        box = next(free, places[0])
        taken.append(box)
        found.append(Point(text, box.left, (box.top + box.bottom) / 2))
    return found


def _near(points: Sequence[Point]) -> list[list[Point]]:
    """Points by the first one that they are near to: not by the last one, lest a row of points becomes one group."""
    groups: list[list[Point]] = []
    for point in points:
        close = (group for group in groups if math.dist(group[0][1:], point[1:]) <= NEAR)
        group = next(close, None)
        if group is None:
            groups.append([point])
        else:
            group.append(point)
    return groups


def _places(group: Sequence[Point], length: float, height: int) -> Iterator[Box]:
    """Where a label of so many pixels may be, the best first: right above its points, then ever further away."""
    lefts = max(point.x for point in group) + ASIDE, min(point.x for point in group) - ASIDE - length
    for away in range(ABOVE, height, HEIGHT):
        for middle in (min(point.y for point in group) - away, max(point.y for point in group) + away):
            for left in lefts:
                yield Box(left, middle - HEIGHT / 2, left + length, middle + HEIGHT / 2)


def _inside(box: Box, width: int, height: int) -> bool:
    return box.left >= 0 and box.right <= width and box.top >= 0 and box.bottom <= height
