"""The pure parts of the comparison with other quantizers; the peers themselves run in ``make bench-int8`` alone."""

import functools
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.data.sets import ImageSet, Sample
from edgecnn.parity import compare
from edgecnn.verify.statistics import accuracy
from tools.bench_int8.agreement import agreement_interval
from tools.bench_int8.candidates import prepare
from tools.bench_int8.cases import CASES, Case, Goals
from tools.bench_int8.compare import one_line
from tools.bench_int8.images import ACTIVITIES, VIEWS, unseen_photographs, views
from tools.bench_int8.report import as_json, as_markdown, as_text, from_json, markdown_table, text_table
from tools.bench_int8.results import CaseResult, Latency, Ratio, Report, Row, Settings
from tools.bench_int8.timing import latencies, ratio, time_interleaved
from tools.bench_int8.verdicts import FALLS_SHORT, NOT_MEASURED, REACHED, verdicts

CASE = Case("mobilenetv3_small", "builtin", "fashion-mnist-test", Goals(0.7, drop_pp=0.15, agreement=0.9, sqnr_db=20))


def row(quantizer: str, share: float | None = None) -> Row:
    """A row of a candidate whose logits are a little off the reference's."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 500)
    reference = (10 * np.eye(10)[labels] + random.normal(size=(500, 10))).astype(np.float32)
    candidate = reference + random.normal(scale=0.01, size=reference.shape).astype(np.float32)
    taken = None if share is None else Ratio(share, share - 0.01, share + 0.01)
    return Row(
        "openvino",
        quantizer,
        build_s=1.5,
        parity=compare(reference, candidate),
        agreement_ci95=agreement_interval(reference, candidate, 1),
        accuracy=accuracy(reference, candidate, labels),
        latency=Latency(2.0, 1.9, 2.4, None, taken),
    )


RESULT = CaseResult(CASE, "64 images", "500 images of a set", 64, rows=(row("edgecnn"), row("NNCF", 0.65)))
REPORT = Report({"CPU": "some", "nncf": "3"}, Settings(), (RESULT,), 60.0)


def test_a_ratio_is_of_the_same_round_and_its_interval_holds_the_truth() -> None:
    random = np.random.default_rng(0)
    holds = []
    for _ in range(100):
        slow_rounds = random.uniform(1, 5, 60)  # what else the machine did, the same for both
        ours, theirs = (value * slow_rounds * random.normal(1, 0.02, 60) for value in (3.0, 4.0))
        found = ratio(ours, theirs)
        assert found.low <= found.value <= found.high
        assert found.high - found.low < 0.03
        holds.append(found.low <= 0.75 <= found.high)
    assert np.mean(holds) >= 0.9
    assert found == ratio(ours, theirs)


def test_a_random_network_has_biases_as_a_trained_one_has() -> None:
    graph = prepare("mobilenetv2", "random", 32, 16).graph
    biases = [graph.weights[node.input[2]].astype(np.float64) for node in graph.nodes if node.op_type == "Conv"]
    assert len(biases) == 52
    assert min(np.abs(bias).max() for bias in biases) > 0.01


def test_every_candidate_has_the_same_number_of_turns() -> None:
    calls: list[str] = []
    times = time_interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 6, 3)
    assert {name: rounds.shape for name, rounds in times.items()} == {"a": (6,), "b": (6,)}
    assert calls.count("a") == calls.count("b")
    assert all((rounds > 0).all() for rounds in times.values())


def test_latencies_are_held_against_fp32_and_against_ours() -> None:
    times = {"FP32": np.full(60, 4.0), "edgecnn": np.full(60, 2.0), "NNCF": np.full(60, 2.5)}
    found = latencies(times, "FP32", "edgecnn")
    assert found["NNCF"].of_fp32 == Ratio(0.625, 0.625, 0.625)
    assert found["NNCF"].edgecnn_takes == Ratio(0.8, 0.8, 0.8)
    assert found["FP32"].of_fp32 is None
    assert found["edgecnn"].edgecnn_takes is None
    without = latencies({"NNCF": times["NNCF"]}, "FP32", "edgecnn")
    assert without["NNCF"].of_fp32 is without["NNCF"].edgecnn_takes is None


def test_verdicts_say_reached_or_by_what_figure_it_falls_short() -> None:
    assert [verdict.outcome for verdict in verdicts(RESULT)] == [REACHED] * 4
    strict = replace(CASE, goals=Goals(0.6, drop_pp=-1.0, agreement=1.1, sqnr_db=99))
    found = verdicts(replace(RESULT, case=strict))
    assert [verdict.outcome for verdict in found] == [FALLS_SHORT] * 4
    assert found[-1].measured == "0.650 [0.640, 0.660]"


def test_what_failed_is_not_measured_and_keeps_its_row() -> None:
    failed = Row("openvino", "NNCF", error="RuntimeError: no")
    result = replace(RESULT, rows=(row("edgecnn"), failed))
    assert verdicts(result)[-1].outcome == NOT_MEASURED
    assert [verdict.outcome for verdict in verdicts(CaseResult(CASE, error="gone"))] == [NOT_MEASURED] * 4
    report = replace(REPORT, cases=(result, CaseResult(CASES[0], error="InputError: gone")))
    assert report.errors == [
        "efficientnet_lite0: InputError: gone",
        "mobilenetv3_small, NNCF on openvino: RuntimeError: no",
    ]
    for text in (as_text(report), as_markdown(report)):
        assert "RuntimeError: no" in text
        assert "InputError: gone" in text
        assert "failed" in text


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n  first\nsecond"), "ValueError: first"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 999), "RuntimeError: " + "x" * 186),
    ],
)
def test_an_error_is_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_json_gives_the_same_report_again() -> None:
    again = from_json(as_json(REPORT))
    assert again == REPORT
    assert as_text(again) == as_text(REPORT)


def test_tables_are_even() -> None:
    assert text_table(["a", "bbb"], [["1111", "2"]]) == ["a     bbb", "1111  2"]
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_photographs_are_the_whole_opaque_pictures_of_a_resource_each_once(tmp_path: Path) -> None:
    """Drawings have an alpha, and buttons are small."""

    def webp(seed: int, side: int = 240, mode: str = "RGB") -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 10, len(mode)), np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels, mode).save(content, "webp", lossless=True)
        return content.getvalue()

    for activity in ACTIVITIES:
        (tmp_path / f"{activity}.rcc").write_bytes(b"qres...")
    drawn, small = webp(2, mode="RGBA"), webp(3, side=100)
    (tmp_path / f"{ACTIVITIES[0]}.rcc").write_bytes(b"qres" + webp(1) + b"RIFF, no picture" + drawn + small + webp(4))
    (tmp_path / f"{ACTIVITIES[1]}.rcc").write_bytes(b"qres" + webp(4) + webp(5))
    images = unseen_photographs(tmp_path)
    assert [sample.name for sample in images.samples] == [f"{ACTIVITIES[0]}-{i:03d}" for i in (0, 3)] + [
        f"{ACTIVITIES[1]}-001"
    ]
    want = Image.open(io.BytesIO(webp(4))).convert("RGB")
    assert (images.samples[1].read() == np.asarray(want)).all()


def test_views_of_a_photograph_are_it_and_its_corners_and_mirrored() -> None:
    pictures = [np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3), np.zeros((8, 8, 3), np.uint8)]
    samples = [Sample(name, None, name, functools.partial(lambda at: pictures[at], i)) for i, name in enumerate("ab")]
    seen = views(ImageSet("two", tuple(samples)))
    assert [sample.name for sample in seen.samples] == [f"{name}-{view}" for name in "ab" for view in range(VIEWS)]
    found = [sample.read() for sample in seen.samples[:VIEWS]]
    whole = pictures[0]
    corners = [whole[:14, :21], whole[:14, 3:], whole[2:, :21], whole[2:, 3:]]
    for view, want in enumerate([whole, *corners]):
        assert (found[2 * view] == want).all()
        assert (found[2 * view + 1] == want[:, ::-1]).all()


def test_views_of_one_photograph_count_once_in_an_agreement() -> None:
    """Twenty photographs with all or no views alike say as much as twenty images, and not as two hundred."""
    reference = np.eye(2, dtype=np.float32)[np.zeros(200, int)]
    answers = np.eye(2, dtype=np.float32)[np.repeat([0, 0, 0, 0, 1] * 4, 10)]
    low, high = agreement_interval(reference, answers, 10)
    assert (low, high) == agreement_interval(reference[::10], answers[::10], 1)
    assert low < 0.65 < 0.8 < 0.94 < high
    apart = agreement_interval(reference, answers, 1)
    assert apart[1] - apart[0] < 0.5 * (high - low)


def test_photographs_that_are_not_installed_are_missed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="categorization"):
        unseen_photographs(tmp_path)
