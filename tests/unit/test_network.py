"""What targets and precisions share is one network's, made once, and never taken for another's."""

from pathlib import Path
from typing import Any

import pytest

from edgecnn.network import Network
from edgecnn.pipeline import export
from edgecnn.quant.synthetic import synthesise
from edgecnn.request import ExportRequest, plan
from tests.conftest import TINY


def request(target: str = "onnx", precision: str = "fp32", **changes: Any) -> ExportRequest:
    return ExportRequest(**{**TINY, "target": target, "precision": precision, **changes})


def test_a_network_serves_every_target_and_precision_of_it() -> None:
    found = Network(plan(request()))
    assert found.serves(plan(request("openvino", "int8", effort="fast", calib="synthetic", batch=None)))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "mobilenetv1"},
        {"weights": "builtin", "num_classes": None},
        {"size": (64, 64)},
        {"num_classes": 11},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_it_serves_no_other(changes: dict[str, Any], tmp_path: Path) -> None:
    found, other = Network(plan(request())), request(**changes, out=tmp_path / "out")
    assert not found.serves(plan(other))
    with pytest.raises(AssertionError, match="names the network that its artifact was made from"):
        export(other, network=found)
    assert not list(tmp_path.iterdir())


def test_its_graph_says_what_it_is_of() -> None:
    found = Network(plan(request()))
    assert found.graph is found.graph
    metadata = {entry.key: entry.value for entry in found.graph.model.metadata_props}
    assert metadata.keys() == {"edgecnn.model", "edgecnn.preprocess", "edgecnn.labels"}
    assert metadata["edgecnn.model"] == "mobilenetv3_small"
    assert found.graph.input_shape == (1, 3, 32, 32)
    assert found.interface(4).classes == len(found.labels) == found.graph.num_classes == 10


def test_synthetic_images_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(
        "edgecnn.network.synthesise", lambda model, how, count, **rest: synthesise(model, how, 2, **rest)
    )
    found = Network(plan(request()))
    assert found.synthetic_images(made.append) is found.synthetic_images(made.append)
    assert made == [2]
