"""An artifact and its stages again, from its folder and whatever is installed here."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.artifact import Artifact
from edgecnn.data.preprocess import Float
from edgecnn.errors import EdgecnnError, IntegrityError, UnavailableError
from edgecnn.graph.session import AT_ONCE, as_many, in_chunks
from edgecnn.models.registry import find_model
from edgecnn.targets.base import UNTUNED, Interface, Session, Tuning
from edgecnn.targets.cpu import CpuTarget, saturates
from edgecnn.targets.registry import find_target
from edgecnn.verify.coverage import Coverage, cover
from edgecnn.verify.stages import Stage

if TYPE_CHECKING:
    from torch import nn

    from edgecnn.graph.graph import Graph


def torch_stage(name: str, model: "nn.Module") -> Stage:
    """A stage that runs a torch network."""
    import torch

    def answer(images: Float) -> Float:
        # Channels next to each other in memory: torch's convolutions then need no other order in between.
        batch = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            logits: Float = model(batch).numpy()
        return logits

    def run(images: Float) -> Float:
        return np.concatenate([answer(part) for part in in_chunks(images, as_many(images, AT_ONCE))])

    return Stage(name, run)


def graph_stage(name: str, graph: "Graph", interface: Interface, optimize: bool) -> Stage:
    """A stage that runs a graph in ONNX Runtime, with a dynamic batch.

    Args:
        interface: of the graph, at any batch.
        optimize: False runs it node by node as it is written.
    """
    from edgecnn.graph.graph import with_batch
    from edgecnn.targets.onnxruntime import OnnxRuntimeSession

    return Stage(
        name, OnnxRuntimeSession(with_batch(graph, None).content, replace(interface, batch=None), optimize).run_all
    )


def open_session(artifact: Artifact, tuning: Tuning = UNTUNED) -> Session:
    """The artifact in its own runtime.

    Raises:
        UnavailableError: the runtime is not installed.
    """
    target = find_target(artifact.manifest["target"])
    target.require()
    return target.open(artifact.model_files(), artifact.interface, tuning)


def coverage_of(artifact: Artifact, session: Session) -> Coverage | None:
    """What is executed of an opened artifact, held against what its manifest says was quantized; None where none is."""
    every_layer = find_target(artifact.manifest["target"]).every_layer_int8
    executed = session.executed()
    if not executed:
        return None
    return cover(executed, artifact.layer_macs, artifact.activations, artifact.int8_layers, every_layer)


def saturation(artifact: Artifact) -> str:
    """Why an INT8 artifact may lose accuracy on this CPU alone, or empty."""
    on_cpu = isinstance(find_target(artifact.manifest["target"]), CpuTarget)
    if artifact.reduced_range is not False or not on_cpu or not saturates():
        return ""
    return "this CPU has no VNNI, and INT8 kernels saturate with these weights; export with --reduce-range"


def last_stage(artifact: Artifact, session: Session) -> Stage:
    """The artifact itself, or the lowered graph that it was built from where it cannot run.

    Raises:
        UnavailableError: neither can run here.
    """
    if not session.absence:
        return Stage("compiled", session.run_all)
    if importlib.util.find_spec("onnxruntime") is None:
        raise UnavailableError(
            f"{artifact.folder} cannot run here ({session.absence}), and checking its lowered graph instead needs"
            " onnxruntime: pip install 'edgecnn[onnxruntime]'"
        )
    return Stage("lowered", _graph(artifact, artifact.files["lowered.onnx"], False))


def reopen(artifact: Artifact, session: Session, weights: str | None) -> list[Stage]:
    """Eager and folded where torch and the very weights are here, then the FP32 graph, the lowered one, the artifact.

    Args:
        weights: where the user says the state dict is, else where the manifest's source has it.

    Raises:
        IntegrityError: ``weights`` are not the ones that the artifact was made from.
    """
    stages = [*_eager(artifact, weights), Stage("onnx", _graph(artifact, artifact.files["reference.onnx"], True))]
    lowered = artifact.files.get("lowered.onnx")
    if lowered is None:  # the artifact is an ONNX graph itself
        stages.append(Stage("lowered", _graph(artifact, artifact.files["model.onnx"], False)))
    elif importlib.util.find_spec("onnxruntime") is not None and not session.absence:
        stages.append(Stage("lowered", _graph(artifact, lowered, False)))
    return [*stages, last_stage(artifact, session)]


def eager_model(artifact: Artifact, weights: str | None = None) -> "nn.Module":
    """The network that an artifact was made from, in evaluation mode; nothing is downloaded for it.

    Args:
        weights: where the user says the state dict is, else where the manifest's source has it.

    Raises:
        UnavailableError: torch, or the weights, are not here.
        InputError: ``weights`` is no state dict of this network.
        IntegrityError: these are not the weights that the artifact was made from.
    """
    model, entry = artifact.manifest["model"], artifact.manifest["weights"]
    if weights is None and entry["source"] == "file":
        raise UnavailableError(
            "the artifact was made from a file of weights, which it does not carry; name it with --weights"
        )
    if importlib.util.find_spec("torch") is None:
        raise UnavailableError("the eager model needs torch: pip install 'edgecnn[export]'")
    from edgecnn.models.weights import load_model

    source = weights or entry["source"]
    loaded = load_model(find_model(model["name"]), source, model["num_classes"], fetch=False)
    if loaded.sha256 != entry["sha256"]:
        raise IntegrityError(f"{source}: sha256 of the state dict is {loaded.sha256}, expected {entry['sha256']}")
    return loaded.model


def _eager(artifact: Artifact, weights: str | None) -> list[Stage]:
    try:
        model = eager_model(artifact, weights)
    except EdgecnnError:
        if weights is not None:
            raise
        return []  # not on this machine; the result says what was compared with instead
    from edgecnn.graph.fold import fold

    return [torch_stage("eager", model), torch_stage("folded", fold(model))]


def _graph(artifact: Artifact, path: Path, optimize: bool) -> Any:
    """ONNX Runtime where it is installed, else OpenVINO, which reads ONNX too."""
    wanted = artifact.interface
    batch = wanted.batch if path.name.startswith("model-") else None
    interface = Interface(batch, wanted.channels, wanted.height, wanted.width, wanted.classes)
    if importlib.util.find_spec("onnxruntime") is not None:
        from edgecnn.targets.onnxruntime import OnnxRuntimeSession

        return OnnxRuntimeSession(str(path), interface, optimize).run_all
    from edgecnn.targets.openvino import OpenVinoSession

    return OpenVinoSession(path.read_bytes(), None, interface).run_all
