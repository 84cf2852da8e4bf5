"""A device's result.json is judged by this machine's policy, and is of one bundle alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import Artifact, load_artifact
from edgecnn.bench.device import device_run
from edgecnn.bench.record import Energy, read_run
from edgecnn.errors import InputError, IntegrityError
from edgecnn.pipeline import Exported
from edgecnn.verify.device import UNLISTED, _bundle_sha256, read_result
from edgecnn.verify.golden import read_golden
from edgecnn.verify.policy import Verdict
from tests.conftest import Command, as_gated

TIMES = {"p50": 0.5, "p90": 0.6, "p95": 0.6, "p99": 0.7, "mean": 0.5, "min": 0.4, "max": 0.9, "n": 2000}


@pytest.fixture(scope="module")
def artifact(tiny_export: Callable[..., Exported], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    made = tiny_export("tensorrt", "int8", flavour="bundle").artifact.folder
    return load_artifact(as_gated(made, tmp_path_factory.mktemp("device") / "out"))


@pytest.fixture
def result(artifact: Artifact) -> dict[str, Any]:
    """What ``run.py`` writes, had it run on an Orin; its numbers are made up."""
    int8 = set(artifact.int8_layers)
    kernels = [
        {"name": name, "kind": "CaskConvolution", "nodes": [name], "precision": "int8" if name in int8 else "fp16"}
        for name in artifact.layer_macs
    ]
    return {
        "schema": 1,
        "bundle": {"sha256": _bundle_sha256(artifact), "model": {"name": "mobilenetv3_small"}, "edgecnn": "0.1.0"},
        "engine": {
            "asked": "int8", "precision": "int8", "refused": [], "module": "tensorrt", "version": "10.3.0",
            "gpu": "Orin", "architecture": "SM87", "size_bytes": 3_000_000, "kernels": kernels,
        },
        "parity": {
            "n": len(read_golden(artifact).logits), "max_abs": 0.1, "cosine": 0.999, "sqnr_db": 28.0, "agreement": 1.0,
            "kl": 0.01, "reasons": [],
        },
        "latency": {
            "batch": 1, "cuda_graph": True, "gpu_ms": TIMES, "host_ms": TIMES, "variation": 0.01, "notes": [],
            "calls_ms": [0.5, 0.4, 0.6, 0.5] * 100,
            "power": {
                "rails_w": {"VDD_IN": 7.6}, "total_w": 7.6, "samples": 200, "joules_per_image": 0.004,
            },
        },
        "layers": [kernel | {"ms": 0.01} for kernel in kernels],
        "machine": {
            "cpu": {"model": "aarch64", "cores": 6}, "gpu": {"name": "Orin", "architecture": "SM87", "driver": "12.6"},
            "board": "Jetson Orin NX", "kernel": "Linux 5.15", "python": "3.10.12",
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
        " by the host's clock, batch 1, 2000 runs; 7.6 W, 4.00 mJ an image"
    )
    assert found.as_json()["device"] == result


def test_the_artifacts_gate_decides_and_not_the_devices_word(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    result["parity"] |= {"kl": 0.5, "reasons": []}
    found = read_result(artifact, write(result)).verification
    assert found.judgement.rejected
    assert found.judgement.reasons == ("KL divergence 0.5000, at most 0.1 is allowed",)


def test_random_weights_are_measured_and_not_gated(
    tiny_export: Callable[..., Exported], result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    result["parity"] |= {"kl": 0.5}
    random = tiny_export("tensorrt", "int8", flavour="bundle").artifact
    found = read_result(random, write(result)).verification
    assert (found.judgement.verdict, found.judgement.rejected) == (Verdict.FAIL, False)
    (row,) = device_run(random.folder, write(result)).rows
    assert row.manifest is not None
    assert row.manifest["status"] == "not gated"


def test_golden_pairs_of_synthetic_images_prove_little(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    evidence = artifact.manifest["evidence"]
    images = evidence["images"] | {"synthetic": True}
    made = replace(artifact, manifest=artifact.manifest | {"evidence": evidence | {"images": images}})
    found = read_result(made, write(result)).verification
    assert found.judgement.verdict is Verdict.INCONCLUSIVE
    assert found.images["synthetic"]


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


def test_kernels_that_are_not_listed_prove_nothing(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    result["engine"]["kernels"] = []
    judgement = read_result(artifact, write(result)).verification.judgement
    assert (judgement.verdict, judgement.reasons) == (Verdict.INCONCLUSIVE, (UNLISTED,))


@pytest.mark.parametrize(
    ("part", "wrong", "says"),
    [
        ("parity", {"n": 10**21}, "Expected `int`|out of range|images, "),
        ("parity", {"n": 15}, "is of 15 images, .* golden pairs"),
        ("parity", {"agreement": 5}, r"<= 1.0 - at `\$.parity.agreement`"),
        ("parity", {"kl": -3}, r"\$.parity.kl"),
        ("parity", {"max_abs": -1}, r"\$.parity.max_abs"),
        ("engine", {"precision": "fp8"}, r"Invalid enum value 'fp8' - at `\$.engine.precision`"),
        ("latency", {"batch": 7}, "is of batch 7, .* was exported for 1"),
        ("latency", {"gpu_ms": TIMES | {"p50": -1}}, r"\$.latency.gpu_ms.p50"),
        ("latency", {"gpu_ms": TIMES | {"n": -3}}, r"\$.latency.gpu_ms.n"),
    ],
)
def test_what_no_device_can_have_found_is_refused(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path], part: str, wrong: Any, says: str
) -> None:
    result[part] |= wrong
    with pytest.raises(InputError, match=says):
        read_result(artifact, write(result))


def test_the_largest_logit_is_the_golden_pairs_and_not_the_devices_word(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    result["engine"] |= {"precision": "fp32", "kernels": []}
    result["parity"]["max_abs"], result["largest_logit"] = 1e9, 1e30
    assert read_result(artifact, write(result)).verification.judgement.rejected


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
    assert f"pass against golden on {result['parity']['n']} images of golden pairs on Orin" in answer.out
    assert "0.500 ms p50" in answer.out
    result["parity"]["kl"] = 0.5
    answer = command("verify", artifact.folder, "--result", write(result), "--json")
    assert answer.code == 6
    assert json.loads(answer.out)["device"]["engine"]["gpu"] == "Orin"
    assert (artifact.folder / "manifest.json").read_bytes() == before
    answer = command("verify", artifact.folder, "--result", write(result), "--max-drop", "3")
    assert (answer.code, answer.out) == (2, "")


def test_bench_takes_it_as_a_run_that_report_and_compare_read(
    command: Command, artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path
) -> None:
    kept = tmp_path / "run.json"
    answer = command("bench", artifact.folder, "--result", write(result), "--layers", "--out", kept)
    assert (answer.code, answer.err) == (0, "")
    (row,) = read_run(kept).rows
    assert (row.status, row.runtime, row.precision) == ("ok", "tensorrt 10.3.0", "int8")
    assert row.times is not None
    assert (row.times.n, row.times.p50_ms, row.times.p99_ms, row.images_per_s) == (400, 0.5, 0.6, 2000)
    assert row.executed["int8"] > 0.5
    assert row.energy is not None
    assert (row.energy.joules_per_image, row.energy.source) == (0.004, "Jetson rails")
    assert [layer.module for layer in row.layers] == [name.partition("/")[0] for name in artifact.layer_macs]
    assert row.manifest is not None
    assert row.manifest["evidence"]["stages"][-1]["name"] == "device"
    assert row.manifest["coverage"]["planned_int8_layers"] == len(artifact.int8_layers)
    assert "features.0.0" in answer.out
    assert "aarch64, 6 cores; governor unknown; Orin; Linux 5.15" in " ".join(answer.out.split())
    page = command("report", kept, "--markdown")
    assert (page.code, page.err) == (0, "")
    assert "Orin" in page.out
    assert command("compare", kept, kept).code == 0


def test_joules_of_an_image_are_the_device_s_own(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    """A bundle of old, whose joules were of a batch and too few, has to run again."""
    (row,) = device_run(artifact.folder, write(result)).rows
    assert row.energy == Energy(0.004, "Jetson rails", "")
    result["latency"]["power"]["joules_per_inference"] = result["latency"]["power"].pop("joules_per_image")
    with pytest.raises(InputError, match=r"is no result\.json of a bundle's run\.py \(.* `joules_per_image`"):
        device_run(artifact.folder, write(result))


def test_a_device_without_rails_says_so_and_a_rejected_engine_is_one(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    result["latency"]["power"] = None
    result["parity"]["kl"] = 3.0
    (row,) = device_run(artifact.folder, write(result)).rows
    assert row.energy == Energy(None, "", "not measurable: the device has no power rails, or none could be sampled")
    assert row.manifest is not None
    assert row.manifest["status"] == "rejected"


@pytest.mark.parametrize("calls", [None, [], [0.5], [0.5, 0.0], [0.5, -1.0], ["fast", "slow"]])
def test_times_that_are_none_are_no_result(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path], calls: list[Any] | None
) -> None:
    result["latency"]["calls_ms"] = calls
    with pytest.raises(InputError, match=r"is no result\.json of a bundle's run\.py \(.*calls_ms"):
        device_run(artifact.folder, write(result))


@pytest.mark.parametrize(("part", "key", "value"), [("parity", "n", 0), ("latency", "batch", 0)])
def test_nothing_is_no_result(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path], part: str, key: str, value: int
) -> None:
    result[part][key] = value
    with pytest.raises(InputError, match=rf"is no result\.json of a bundle's run\.py \(.*{key}"):
        read_result(artifact, write(result))


def test_numbers_that_are_none_are_no_result(
    artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    path = write(result)
    path.write_text(path.read_text().replace('"variation": 0.01', '"variation": 1e999'))
    with pytest.raises(InputError, match="holds a number that is not finite"):
        read_result(artifact, path)


def test_a_device_writes_nothing_but_text_to_the_terminal(
    command: Command, artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path]
) -> None:
    result["engine"]["gpu"] = "Orin\x1b[31m"
    assert "\x1b" not in command("verify", artifact.folder, "--result", write(result)).out


@pytest.mark.parametrize("more", [("--threads", "1"), ("--against", "eager"), ("--host", "board"), ("--batch", "2")])
def test_a_result_was_measured_as_it_was(
    command: Command, artifact: Artifact, result: dict[str, Any], write: Callable[[Any], Path], more: tuple[str, ...]
) -> None:
    answer = command("bench", artifact.folder, "--result", write(result), *more)
    assert answer.code == 2
    assert "--result is of one artifact and as it was measured; drop everything but it" in answer.err
