"""README's accuracy as a table: what was measured, what refused, and nothing invented for either."""

from tools.bench_accuracy import Report, Row, as_markdown

LABELLED = {
    "n": 10000, "top1": 0.9378, "top1_reference": 0.9371, "drop_pp": -0.07, "drop_ci95_pp": [-0.17, 0.03],
    "agreement": 0.9972, "sqnr_db": 34.04,
}  # fmt: skip
UNLABELLED = LABELLED | dict.fromkeys(("top1", "top1_reference", "drop_pp", "drop_ci95_pp")) | {"n": 400}


def test_a_row_says_what_was_measured_or_why_nothing_was() -> None:
    rows = (
        Row("mobilenetv3_large", "openvino --int8", "fashion-mnist-test", 14.6, LABELLED),
        Row("efficientnet_lite0", "openvino --int8", "photographs", 30.2, UNLABELLED),
        Row("efficientnet_b0", "tensorrt --int8", "photographs", 1.0, {}, "no such package"),
    )
    lines = as_markdown(Report("0.1.0", "a machine", rows)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:5]]
    assert cells[0][3:] == ["10,000", "93.71 %", "93.78 %", "-0.07 [-0.17, +0.03]", "0.9972", "34.0", "15"]
    assert cells[1][3:] == ["400", "–", "–", "–", "0.9972", "34.0", "30"]
    assert cells[2][3:] == ["no such package", *["–"] * 5, "1"]
    assert lines[-1] == "edgecnn 0.1.0; a machine"
