import itertools

import numpy as np

from edgecnn.report.charts.labels import CHARACTER, Point, labels


def test_points_that_are_near_share_a_label() -> None:
    points = [Point("1", 158, 240), Point("2", 153, 240), Point("3", 540, 240), Point("4", 147, 240)]
    assert [label.text for label in labels(points, 600, 300)] == ["1,2,4", "3"]


def test_a_row_of_neighbours_is_not_one_group() -> None:
    points = [Point(str(number), 12 * number, 150) for number in range(1, 9)]
    assert max(label.text.count(",") for label in labels(points, 270, 300)) < 3


def test_no_label_is_on_another_or_on_a_point_or_outside() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        points = [Point(str(at), random.uniform(5, 265), random.uniform(5, 295)) for at in range(1, 25)]
        found = labels(points, 270, 300)
        assert sorted(",".join(label.text for label in found).split(",")) == sorted(point.text for point in points)
        for one, other in itertools.combinations(found, 2):
            left, right = sorted((one, other), key=lambda label: label.x)
            assert left.x + CHARACTER * len(left.text) <= right.x or abs(one.y - other.y) >= 14
        for label in found:
            end = label.x + CHARACTER * len(label.text)
            assert label.x >= 0
            assert end <= 270
            assert not any(label.x < point.x < end and abs(label.y - point.y) < 7 for point in points)
