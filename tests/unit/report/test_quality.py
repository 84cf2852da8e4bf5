import pytest

from edgecnn.report.quality import quality
from edgecnn.verify.statistics import share_interval
from tests.made_up import made_up_run, manifest, row


def test_labels_give_top1_with_the_paired_interval_of_its_drop() -> None:
    run = made_up_run()
    found = quality(run.rows[1], run)
    assert found is not None
    assert (found.measure, found.value, found.n) == ("top-1", 0.943, 1000)
    assert found.drop_pp == pytest.approx(-0.1)
    assert found.ci95 == pytest.approx((0.940, 0.946))


def test_without_labels_it_is_agreement() -> None:
    unlabelled = row("small-openvino-int8", 1.1, manifest=manifest(top1=None))
    found = quality(unlabelled, made_up_run(rows={unlabelled.name: unlabelled}))
    assert found is not None
    assert (found.measure, found.value, found.ci95) == ("agreement", 0.98, share_interval(0.98, 1000))


def test_eager_is_the_reference_of_its_model() -> None:
    run = made_up_run()
    found = quality(run.rows[0], run)
    assert found is not None
    assert (found.value, found.ci95, found.drop_pp) == (0.942, None, None)


def test_eager_of_another_model_is_not_known() -> None:
    other = row("eager", 9.0, model="another")
    assert quality(other, made_up_run(rows={"eager": other})) is None


def test_two_references_are_none() -> None:
    changed = manifest()
    changed["evidence"]["top1_reference"] = 0.95
    run = made_up_run(rows={"small-onnx-fp32": row("small-onnx-fp32", 9.7, manifest=changed)})
    assert quality(run.rows[0], run) is None


def test_nobody_checked_what_compile_answers() -> None:
    compiled = row("eager", 9.0, kind="compile")
    assert quality(compiled, made_up_run(rows={"eager": compiled})) is None
