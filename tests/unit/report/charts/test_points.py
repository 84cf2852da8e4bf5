"""Points with their intervals, read back from the SVG; how they look is seen in the browser's tests."""

import re

from edgecnn.report.charts.drawing import WIDE
from edgecnn.report.charts.points import accuracy_against_speed
from tests.made_up import made_up_run, manifest, row


def test_every_row_with_both_is_a_point_with_its_intervals() -> None:
    svg, words = accuracy_against_speed(made_up_run(), WIDE)
    assert len(re.findall(r"aria-roledescription=\"point\"", svg)) == 4
    assert "small-openvino-int8: 94.30 % [94.00, 94.60], 1." in words
    assert words.endswith("Not drawn: small-tensorrt-int8.")


def test_agreement_and_top1_do_not_share_an_axis() -> None:
    unlabelled = row("small-onnx-fp32", 9.7, manifest=manifest(top1=None))
    _, words = accuracy_against_speed(made_up_run(rows={"small-onnx-fp32": unlabelled}), WIDE)
    assert words.startswith("top-1 on 1,000 images of made-up-1000 against")
    assert words.endswith("Not drawn: small-onnx-fp32, small-tensorrt-int8.")


def test_accuracy_on_different_images_does_not_share_an_axis() -> None:
    other = manifest()
    other["evidence"]["images"] = {"name": "others", "sha256": "8" * 64}
    run = made_up_run(rows={"small-onnx-fp32": row("small-onnx-fp32", 9.7, manifest=other, model="other")})
    assert "Not drawn: small-onnx-fp32" in accuracy_against_speed(run, WIDE)[1]


def test_points_on_top_of_each_other_share_a_readable_number() -> None:
    run = made_up_run(
        rows={f"small-{target}-int8": row(f"small-{target}-int8", 1.1) for target in ("a", "b", "openvino")}
    )
    svg, _ = accuracy_against_speed(run, WIDE)
    numbers = re.findall(r'<text [^>]*font-weight="bold"[^>]*>([^<]*)</text>', svg)
    assert sorted(set(numbers)) == ["1", "2,6,7", "3", "4"]
