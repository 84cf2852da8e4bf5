"""What every target promises, at every precision; a new one joins by its line in the registry."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgecnn.artifact import load_artifact
from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError, InputError, UnavailableError
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.names import INPUT, OUTPUT
from edgecnn.parity import compare
from edgecnn.recipe import Gate
from edgecnn.targets.base import FP16, FP32, INT8, Session
from edgecnn.verify.coverage import cover, layer_precisions
from edgecnn.verify.golden import read_golden
from edgecnn.verify.policy import Verdict, judge
from edgecnn.verify.reopen import coverage_of
from tests.contract.conftest import Case

EXPECTED = "expected (1, 3, 32, 32) float32"
NOT_FINITE = "image holds NaN or infinite values, expected finite ones; is the picture normalised?"
OUTPUT_LAYER = "classifier.3/Gemm"  # which may go by the name of the output
INT8_SQNR_DB = 10.0  # what min-max INT8 keeps of a random network at the very least; wrong scales give less than 3

# Runtimes disagree on all of these: OpenVINO takes float64 and launders NaN, ONNX Runtime reports in its own words.
BAD_INPUTS: dict[str, tuple[Callable[[Float], object], str]] = {
    "float64": (lambda x: x.astype(np.float64), f"image is (1, 3, 32, 32) float64, {EXPECTED}"),
    "float16": (lambda x: x.astype(np.float16), f"image is (1, 3, 32, 32) float16, {EXPECTED}"),
    "uint8": (lambda x: x.astype(np.uint8), f"image is (1, 3, 32, 32) uint8, {EXPECTED}"),
    "channels last": (lambda x: x.transpose(0, 2, 3, 1), f"image is (1, 32, 32, 3) float32, {EXPECTED}"),
    "no batch axis": (lambda x: x[0], f"image is (3, 32, 32) float32, {EXPECTED}"),
    "one axis more": (lambda x: x[None], f"image is (1, 1, 3, 32, 32) float32, {EXPECTED}"),
    "other height": (lambda x: x[:, :, :31], f"image is (1, 3, 31, 32) float32, {EXPECTED}"),
    "grey": (lambda x: x[:, :1], f"image is (1, 1, 32, 32) float32, {EXPECTED}"),
    "batch of two": (lambda x: np.concatenate([x, x]), f"image is (2, 3, 32, 32) float32, {EXPECTED}"),
    "empty batch": (lambda x: x[:0], f"image is (0, 3, 32, 32) float32, {EXPECTED}"),
    "NaN": (lambda x: np.where(x == x.max(), np.nan, x).astype(np.float32), NOT_FINITE),
    "not normalised": (
        lambda x: np.linspace(0, 255, x.size, dtype=np.float32).reshape(x.shape),
        "image reaches 255, expected normalised values within ±100: (pixels / 255 - mean) / std of the artifact's"
        " preprocessing",
    ),
    "infinite": (lambda x: np.where(x == x.min(), -np.inf, x).astype(np.float32), NOT_FINITE),
}


@pytest.mark.parametrize("kind", BAD_INPUTS)
def test_bad_inputs_are_refused_in_the_same_words_everywhere(session: Session, images: Float, kind: str) -> None:
    spoil, text = BAD_INPUTS[kind]
    with pytest.raises(InputError) as caught:
        session.run(spoil(images[:1]))  # type: ignore[arg-type]  # that is the point
    assert str(caught.value) == text


def test_answers_agree_with_the_float_reference(case: Case, running: Session, images: Float) -> None:
    reference = read_golden(case.artifact).logits
    parity = compare(reference, running.run_all(images))
    if case.precision == "int8":
        assert parity.sqnr_db > INT8_SQNR_DB
    else:
        gate = Gate(**case.artifact.manifest["gate"])
        judgement = judge(case.precision, parity, float(np.abs(reference).max()), None, gate, reference.shape[1])
        assert judgement.verdict is Verdict.PASS, judgement.reasons


def test_int8_is_really_quantized(case: Case) -> None:
    ops = [node.op_type for node in case.graph.nodes]
    convolutions = ops.count("Conv") + ops.count("Gemm")
    assert (ops.count("DequantizeLinear") > convolutions) == (case.precision == "int8")


def test_answers_are_logits_of_the_interface(case: Case, running: Session, images: Float) -> None:
    logits = running.run(images[:1])
    assert logits.shape == (1, case.artifact.interface.classes)
    assert logits.dtype == np.float32


def test_answers_are_the_callers_own(running: Session, images: Float) -> None:
    first = running.run(images[:1])
    kept = first.copy()
    second = running.run(images[1:2])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # nor does writing to it reach the running
    np.testing.assert_array_equal(running.run(images[:1]), kept)


def test_inputs_are_left_alone(running: Session, images: Float) -> None:
    image = images[:1].copy()
    running.run(image)
    np.testing.assert_array_equal(image, images[:1])


def test_an_input_may_be_a_view(running: Session, images: Float) -> None:
    view = np.asfortranarray(images[:1])
    np.testing.assert_array_equal(running.run(view), running.run(images[:1]))


def test_a_static_batch_answers_any_number_of_images(
    open_with_batch: Callable[[int | None], Session], running: Session, images: Float
) -> None:
    three = open_with_batch(3)
    alone = np.concatenate([running.run(image[None]) for image in images[:5]])
    np.testing.assert_allclose(three.run_all(images[:5]), alone, rtol=1e-3, atol=1e-5 + 1e-3 * np.abs(alone).max())
    with pytest.raises(InputError, match=r"image is \(1, 3, 32, 32\) float32, expected \(3, 3, 32, 32\) float32"):
        three.run(images[:1])


def test_a_dynamic_batch_takes_what_comes(
    open_with_batch: Callable[[int | None], Session], running: Session, images: Float
) -> None:
    dynamic = open_with_batch(None)
    alone = np.concatenate([running.run(image[None]) for image in images[:4]])
    for count in (1, 4, 2):
        answers = dynamic.run(images[:count])
        assert answers.shape[0] == count
        np.testing.assert_allclose(answers, alone[:count], rtol=1e-3, atol=1e-5 + 1e-3 * np.abs(alone).max())
    with pytest.raises(InputError, match=r"image is \(2, 3, 32, 31\) float32, expected \(N, 3, 32, 32\) float32"):
        dynamic.run(images[:2, :, :, :31])


@pytest.mark.parametrize("batch", [3, None])
def test_other_batches_build_to_the_same_layers(
    open_with_batch: Callable[[int | None], Session], case: Case, batch: int | None
) -> None:
    macs = case.artifact.layer_macs
    found = layer_precisions(open_with_batch(batch).executed(), macs)
    if case.target.every_layer_int8:
        assert [name for name in macs if found[name] == INT8] == case.artifact.int8_layers


def test_a_session_that_cannot_run_here_says_so(session: Session, images: Float) -> None:
    if not session.absence:
        pytest.skip("it runs here")
    with pytest.raises(UnavailableError, match=re.escape(session.absence)):
        session.run(images[:1])


def test_the_same_graph_gives_the_same_bytes(case: Case) -> None:
    graph = with_batch(case.graph, 1)
    first, second = case.target.build(graph), case.target.build(graph)
    assert first == second
    published = {suffix: path.read_bytes() for suffix, path in case.artifact.model_files().items()}
    assert first == published


def test_published_files_load_again(case: Case, running: Session, images: Float) -> None:
    artifact = load_artifact(case.artifact.folder)
    assert artifact.files == case.artifact.files
    assert artifact.manifest == json.loads(json.dumps(case.artifact.manifest))  # where tuples are lists
    again = case.target.open(artifact.model_files(), artifact.interface)
    np.testing.assert_array_equal(again.run_all(images), running.run_all(images))


def test_tensors_keep_their_names(case: Case) -> None:
    content = b"".join(path.read_bytes() for path in case.artifact.model_files().values())
    assert INPUT.encode() in content
    assert OUTPUT.encode() in content


def test_a_foreign_operator_is_refused(case: Case) -> None:
    model = case.graph.copy()
    model.graph.node[-1].op_type = "NoSuchOperator"
    with pytest.raises(BuildError, match="refuses the graph"):
        case.target.build(Graph(model))


def test_files_that_are_no_model_are_refused(case: Case, tmp_path: Path) -> None:
    files = {}
    for suffix in case.artifact.model_files():
        files[suffix] = tmp_path / f"model{suffix}"
        files[suffix].write_bytes(b"no model")
    with pytest.raises(BuildError, match="refuses the"):
        case.target.open(files, case.artifact.interface)


def test_an_empty_graph_is_refused(case: Case) -> None:
    with pytest.raises(BuildError, match="refuses the graph"):
        case.target.build(Graph(onnx.ModelProto()))


def test_every_layer_is_executed_once_in_the_precision_that_was_promised(case: Case, session: Session) -> None:
    macs, planned = case.artifact.layer_macs, case.artifact.int8_layers
    assert bool(planned) == (case.precision == "int8")
    kernels = session.executed()
    layers = [
        name for kernel in kernels for name in {OUTPUT_LAYER if node == OUTPUT else node for node in kernel.nodes}
    ]
    assert sorted(name for name in layers if name in macs) == sorted(macs)
    found = layer_precisions(kernels, macs)
    if case.target.every_layer_int8:
        floats = FP16 if case.target.half_arithmetic and case.precision != "fp32" else FP32
        assert found == {name: INT8 if name in planned else floats for name in macs}
    else:
        assert {name for name in macs if found[name] == INT8} <= set(planned)
        assert any(found[name] == INT8 for name in planned) == bool(planned)


def test_coverage_is_in_the_manifest_and_the_same_again(case: Case, session: Session) -> None:
    stored = json.loads(json.dumps(case.artifact.manifest["coverage"]))
    found = coverage_of(case.artifact, session)
    assert found is not None
    assert stored == found.as_json()
    assert (stored["int8_macs_share"] > 0) == (case.precision == "int8")
    assert stored["macs"] == sum(case.artifact.layer_macs.values())


def test_a_graph_without_its_quantizers_is_secretly_float(case: Case, open_reference: Callable[[], Session]) -> None:
    macs = case.artifact.layer_macs
    planned = list(macs)[:12]
    found = cover(open_reference().executed(), macs, {}, planned, case.target.every_layer_int8)
    assert found.problem.startswith("0 of 12 quantized layers run in int8; not: features.0.0/Conv (fp32), ")


def test_the_float_graph_can_be_opened_beside_the_artifact(
    case: Case, images: Float, open_reference: Callable[[], Session]
) -> None:
    session = open_reference()
    if session.absence:
        pytest.skip(f"built, not executed here: {session.absence}")
    answers = session.run(images[:1])
    np.testing.assert_allclose(answers, read_golden(case.artifact).logits[:1], rtol=1e-3, atol=1e-4)
