"""The bundle: one archive with graphs, scripts and golden pairs from which a device builds its own engine."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from edgecnn.targets.tensorrt_session import BATCHES

if TYPE_CHECKING:
    from edgecnn.graph.graph import Graph

SCRIPTS = Path(__file__).parent / "bundle"
FOLDER = "edgecnn-bundle"  # that the archive unpacks to
SCHEMA = 1
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date of a zip archive; the same content gives the same bytes
WHAT = {
    "model.fp32.onnx": "the float graph",
    "model.fp16.onnx": "computed in half precision, for strongly typed networks",
    "model.int8.onnx": "quantized, its float layers FP32; with 8.x's and 10.x's builder flags they are FP16",
    "model.int8.typed.onnx": "quantized, its float layers FP16, for strongly typed networks; Casts around quantizers",
    "model.int8.fp16-scales.onnx": "the same with scales of half precision instead of Casts, of opset 19",
    "golden.npz": "inputs, and the logits of the eager PyTorch model",
    "build.py": "builds the engine here",
    "run.py": "checks and times it",
    "builder.py": "what build.py does, on every TensorRT",
    "checked.py": "hashes, before anything is read",
    "cuda_driver.py": "the calls of the CUDA driver that running takes",
    "engine.py": "an engine that answers from NumPy",
    "layers.py": "which layer became which kernel",
    "layer_times.py": "where the time goes",
    "rails.py": "a Jetson's power sensors",
}


def write_bundle(graphs: Mapping[str, "Graph"], golden: bytes, facts: Mapping[str, Any]) -> bytes:
    """A zip archive, not compressed: weights hardly are, and compressors of other versions would write other bytes.

    Args:
        graphs: ``fp32``, and the lowered ``int8`` with float32 layers where there is one; of the batch to be built.
        golden: an ``.npz`` of inputs and the eager model's logits.
        facts: the artifact's manifest, but for its files.
    """
    from edgecnn.graph.fp16 import fp16_arithmetic
    from edgecnn.graph.lint import lint_tensorrt
    from edgecnn.quant.lower.half import with_fp16_scales

    models = {"model.fp32.onnx": graphs["fp32"], "model.fp16.onnx": fp16_arithmetic(graphs["fp32"])}
    if "int8" in graphs:
        models |= {
            "model.int8.onnx": graphs["int8"],
            "model.int8.typed.onnx": fp16_arithmetic(graphs["int8"]),
            "model.int8.fp16-scales.onnx": with_fp16_scales(graphs["int8"]),
        }
    for graph in models.values():
        lint_tensorrt(graph, profile=True)
    files = {name: graph.content for name, graph in models.items()} | {"golden.npz": golden}
    files |= {path.name: path.read_bytes() for path in sorted(SCRIPTS.glob("*.py")) if path.name in WHAT}
    files["README.md"] = _readme(files, facts)
    files["manifest.json"] = _manifest(files, models, facts)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as written:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{FOLDER}/{name}", EPOCH)
            entry.external_attr = 0o644 << 16
            written.writestr(entry, content)
    return archive.getvalue()


def _readme(files: Mapping[str, bytes], facts: Mapping[str, Any]) -> bytes:
    text = Template((SCRIPTS / "README.md").read_text("utf-8"))
    rows = "\n".join(f"| `{name}` | {WHAT[name]} |" for name in WHAT if name in files)
    return text.substitute(
        model=facts["model"]["name"], precision=facts["precision"], edgecnn=facts["edgecnn"], rows=rows
    ).encode()


def _manifest(files: Mapping[str, bytes], models: Mapping[str, "Graph"], facts: Mapping[str, Any]) -> bytes:
    """What the scripts check and need; ``sha256`` is over everything else in it."""
    quantizer = facts["quantizer"]
    largest = models.get("model.int8.typed.onnx", models["model.fp16.onnx"])
    content = {
        "schema": SCHEMA,
        **{key: facts[key] for key in ("edgecnn", "model", "precision", "interface", "preprocess", "labels", "gate")},
        "layers": facts["graph"]["layers"],
        "int8_layers": [] if quantizer is None else quantizer["layers"],
        "operators": {node.name: node.op_type for node in largest.nodes},
        "batches": list(BATCHES),
        "files": [
            {"name": name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(files.items())
        ],
    }
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
