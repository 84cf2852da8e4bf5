"""Runs that a runtime itself ends: refusals of ours, in its words, whichever way a batch is asked for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgecnn.errors import BuildError
from edgecnn.graph.graph import model_of
from edgecnn.names import INPUT, OUTPUT
from edgecnn.targets.base import Interface, Session, Tuning
from edgecnn.targets.onnxruntime import OnnxRuntimeSession
from edgecnn.targets.openvino import OpenVinoSession
from edgecnn.threads import available_cores

INTERFACE = Interface(None, 3, 2, 2, 12)
OPENED: dict[str, Callable[[Tuning], Session]] = {
    "onnxruntime": lambda tuning: OnnxRuntimeSession(one_at_a_time(), INTERFACE, tuning=tuning),
    "openvino": lambda tuning: OpenVinoSession(one_at_a_time(), None, INTERFACE, tuning=tuning),
}


def one_at_a_time() -> bytes:
    """A graph of dynamic batch that any other batch than one ends in the middle of a run."""
    shapes: dict[str, list[str | int | None]] = {INPUT: ["N", 3, 2, 2], OUTPUT: ["M", 12]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 12])
    node = helper.make_node("Reshape", [INPUT, "shape"], [OUTPUT])
    content: bytes = model_of(helper.make_graph([node], "one", values[:1], values[1:], [shape])).SerializeToString()
    return content


class Failing:
    """A stand-in for a request that OpenVINO ends."""

    def infer(self, inputs: Any) -> None:
        raise RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:\nno memory")


@pytest.mark.parametrize("runtime", OPENED)
@pytest.mark.parametrize(
    ("asked", "tuning"),
    [
        (lambda session, batch: session.run(batch), Tuning()),
        (lambda session, batch: session.flood([batch], 0.0), Tuning(1)),
        (lambda session, batch: session.flood([batch], 0.0), Tuning(1, many=True)),
        (lambda session, batch: session.kernel_times([batch]), Tuning(profiled=True)),
    ],
    ids=["run", "flood", "flood of many", "kernel times"],
)
def test_a_run_that_fails_is_a_refusal(
    runtime: str, asked: Callable[[Session, Any], Any], tuning: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one row's ``EdgecnnError`` it costs that row; as anything else it ended the whole of ``bench``."""
    session = OPENED[runtime](tuning)
    assert session.run(np.zeros((1, 3, 2, 2), np.float32)).shape == (1, 12)
    if isinstance(session, OpenVinoSession) and available_cores() == 1 and not tuning.many:
        monkeypatch.setattr(session, "_request", Failing())  # on one core OpenVINO answers whatever the shapes are
    with pytest.raises(BuildError, match=f"^{runtime} .* fails to run the model: ") as caught:
        asked(session, np.zeros((2, 3, 2, 2), np.float32))
    assert len(str(caught.value).splitlines()) == 1
