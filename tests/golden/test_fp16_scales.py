"""INT8 with scales of half precision answers as it does with Casts, in a network that was trained."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session
from edgecnn.parity import compare
from edgecnn.pipeline import export, verify
from edgecnn.request import ExportRequest
from edgecnn.targets.tensorrt_bundle import FOLDER

GRAPHS = ("model.int8.onnx", "model.int8.typed.onnx", "model.int8.fp16-scales.onnx")


def test_both_spellings_answer_alike_and_pass_the_gate(tmp_path: Path) -> None:
    """Each differs from float32 layers by less than INT8 does from the eager model, and so do they from each other."""
    request = ExportRequest("mobilenetv3_small", "tensorrt", "int8", effort="fast", out=tmp_path / "out")
    exported = export(replace(request, flavour="tensorrt-rtx", fp16_scales=True))
    assert exported.artifact.manifest["runtime"]["int8_scales"] == "fp16"
    assert exported.artifact.manifest["status"] == "verified"
    assert exported.verification.parity.agreement >= 0.985
    assert exported.verification.coverage is not None
    assert exported.verification.coverage.problem == ""
    lowered = Graph(onnx.load(exported.artifact.files["lowered.onnx"]))
    assert lowered.opset == 19
    assert verify(tmp_path / "out").judgement.reasons == ()
    with zipfile.ZipFile(exported.artifact.files["bundle.zip"]) as bundle:
        assert {f"{FOLDER}/{name}" for name in GRAPHS} < set(bundle.namelist())
        models = {name: Graph(onnx.load_from_string(bundle.read(f"{FOLDER}/{name}"))) for name in GRAPHS}
        with np.load(io.BytesIO(bundle.read(f"{FOLDER}/golden.npz")), allow_pickle=False) as golden:
            inputs, eager = golden["inputs"], golden["logits"]
        described = json.loads(bundle.read(f"{FOLDER}/manifest.json"))
    assert set(GRAPHS) < {entry["name"] for entry in described["files"]}
    assert with_batch(models[GRAPHS[2]], None).content == lowered.content
    whole, casts, scales = (
        inference_session(with_batch(graph, None).content, optimize=False).run(["logits"], {"image": inputs})[0]
        for graph in models.values()
    )
    noise = compare(eager, whole).sqnr_db
    best = np.sort(whole, axis=1)
    decided = best[:, -1] - best[:, -2] > np.abs(eager - whole).max(axis=1)
    assert decided.sum() >= 12
    for a, b in ((whole, casts), (whole, scales), (casts, scales)):
        found = compare(a, b)
        assert found.agreement >= 15 / 16  # one image may be near a tie; where INT8's noise decides nothing, all agree
        assert (a.argmax(axis=1) == b.argmax(axis=1))[decided].all()
        assert found.sqnr_db > noise - 3
