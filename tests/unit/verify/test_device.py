"""A device's result.json is judged by this machine's policy, and is of one bundle alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import Artifact
from edgecnn.errors import InputError, IntegrityError
from edgecnn.pipeline import Exported
from edgecnn.verify.device import _bundle_sha256, read_result
from edgecnn.verify.policy import Verdict
from tests.conftest import Command

TIMES = {"p50": 0.5, "p90": 0.6, "p95": 0.6, "p99": 0.7, "mean": 0.5, "min": 0.4, "max": 0.9, "n": 2000}


@pytest.fixture(scope="module")
def artifact(tiny_export: Callable[..., Exported]) -> Artifact:
    return tiny_export("tensorrt", "int8", flavour="bundle").artifact


@pytest.fixture
def result(artifact: Artifact) -> dict[str, Any]:
    """What ``run.py`` writes, had it run on an Orin; its numbers are made up."""
    int8 = set(artifact.int8_layers)
    kernels = [
        {"kind": "CaskConvolution", "nodes": [name], "precision": "int8" if name in int8 else "fp16", "bytes": 64}
        for name in artifact.layer_macs
    ]
    return {
        "schema": 1,
        "bundle": {"sha256": _bundle_sha256(artifact), "model": {"name": "mobilenetv3_small"}, "edgecnn": "0.1.0"},
        "engine": {
            "asked": "int8", "precision": "int8", "refused": [], "module": "tensorrt", "version": "10.3.0",
            "gpu": "Orin", "architecture": "SM87", "kernels": kernels,
        },
        "parity": {
            "n": 16, "max_abs": 0.1, "cosine": 0.999, "sqnr_db": 28.0, "agreement": 1.0, "kl": 0.01, "reasons": [],
        },
        "largest_logit": 3.0,
        "latency": {
            "batch": 1, "cuda_graph": True, "gpu_ms": TIMES, "host_ms": TIMES, "variation": 0.01, "notes": [],
            "power": {
                "rails_w": {"VDD_IN": 7.6}, "total_w": 7.6, "samples": 200, "joules_per_inference": 0.004,
            },
        },
    }  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def to_file(document: Any) -> Path:
        path = tmp_path / "result.json"
        path.write_text(json.dumps(document))
        return path

    return to_file


def test_a_result_passes_with_its_coverage_and_its_times(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    found = read_result(artifact, write(result))
    assert found.verification.judgement.verdict is Verdict.PASS
    assert found.verification.coverage is not None
    assert found.verification.coverage.planned_int8 == len(artifact.int8_layers) > 0
    assert found.text == (
        "int8 on Orin (SM87), tensorrt 10.3.0: 0.500 ms p50 and 0.700 ms p99 on the GPU with a CUDA graph, 0.500 ms p50"
        " by the host's clock, batch 1, 2000 runs; 7.6 W, 4.00 mJ per run"
    )
    assert found.as_json()["device"] == result


def test_the_artifacts_gate_decides_and_not_the_devices_word(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    result["parity"] |= {"kl": 0.5, "reasons": []}
    found = read_result(artifact, write(result)).verification
    assert found.judgement.rejected
    assert found.judgement.reasons == ("KL divergence 0.5000, at most 0.1 is allowed",)


def test_layers_that_the_device_ran_in_float_reject_int8(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    for kernel in result["engine"]["kernels"]:
        kernel["precision"] = "fp16"
    found = read_result(artifact, write(result)).verification
    assert found.judgement.rejected
    assert found.judgement.reasons[0].startswith(
        f"0 of {len(artifact.int8_layers)} quantized layers run in int8; not: "
    )


def test_a_fallback_to_fp16_is_named(artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]) -> None:
    result["engine"] |= {"precision": "fp16", "refused": ["int8 from model.int8.typed.onnx: no implementation"]}
    result["parity"]["max_abs"] = 0.01
    for kernel in result["engine"]["kernels"]:
        kernel["precision"] = "fp16"
    found = read_result(artifact, write(result)).verification
    assert found.judgement.verdict is Verdict.PASS
    assert found.note == ("int8 could not be built, this is fp16: int8 from model.int8.typed.onnx: no implementation")


def test_a_result_of_another_bundle_is_refused(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    result["bundle"]["sha256"] = "0" * 64
    with pytest.raises(IntegrityError, match=r"result\.json: is of bundle 000000000000, .* has "):
        read_result(artifact, write(result))


@pytest.mark.parametrize("document", [[], {}, {"bundle": 1}])
def test_anything_else_is_refused(artifact: Artifact, write: Callable[[Any], Path], document: Any) -> None:
    with pytest.raises(InputError, match=r"is no result\.json of a bundle's run\.py"):
        read_result(artifact, write(document))


def test_an_artifact_without_a_bundle_has_no_results(
    tiny_export: Callable[..., Exported], result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    with pytest.raises(InputError, match=r"has no bundle, so no result\.json is of it"):
        read_result(tiny_export("onnx", "fp32").artifact, write(result))


def test_verify_reports_it_and_leaves_the_artifact_alone(
    command: Command, artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    before = (artifact.folder / "manifest.json").read_bytes()
    answer = command("verify", artifact.folder, "--result", write(result))
    assert (answer.code, answer.err) == (0, "")
    assert "pass against golden on 16 images of golden pairs on Orin" in answer.out
    assert "0.500 ms p50" in answer.out
    result["parity"]["kl"] = 0.5
    answer = command("verify", artifact.folder, "--result", write(result), "--json")
    assert answer.code == 6
    assert json.loads(answer.out)["device"]["engine"]["gpu"] == "Orin"
    assert (artifact.folder / "manifest.json").read_bytes() == before
    answer = command("verify", artifact.folder, "--result", write(result), "--max-drop", "3")
    assert (answer.code, answer.out) == (2, "")
