"""What is kept of a network gives the bytes that torch's exporter gives, for any weights, and is never needed."""

import hashlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from edgecnn.data.download import cache_folder
from edgecnn.graph import traced
from edgecnn.graph.fold import fold
from edgecnn.graph.graph import Graph
from edgecnn.graph.to_onnx import to_onnx
from edgecnn.graph.traced import trace
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model


def folded(name: str = "mobilenetv1", classes: int = 10) -> nn.Module:
    return fold(load_model(find_model(name), "random", classes).model)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder() / "graphs"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Torch's, and how often it was asked."""
    monkeypatch.setattr(traced, "to_onnx", counted := Mock(wraps=to_onnx))
    return counted


@pytest.mark.parametrize("name", ["mobilenetv1", "mobilenetv3_small", "efficientnet_b0"])
def test_other_weights_have_the_bytes_that_the_exporter_gives(name: str, cache: Path, exporter: Mock) -> None:
    """Among them such as the exporter treats apart: a bias of zeros, and two layers alike."""
    trace(folded(name), 3, 32, 48)
    other = folded(name)
    biases = [parameter for key, parameter in other.named_parameters() if key.endswith("bias")]
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
        biases[0].zero_()
        for bias in biases[1:]:
            if bias.shape == biases[0].shape:
                bias.zero_()
    found = trace(other, 3, 32, 48)
    assert exporter.call_count == 1
    assert found.content == to_onnx(other, 3, 32, 48).content
    assert len(list(cache.iterdir())) == 1


def test_what_is_kept_has_no_weights(cache: Path) -> None:
    graph = trace(folded(), 3, 32, 32)
    (path,) = cache.iterdir()
    assert path.stat().st_size < 20_000 < len(graph.content)


def test_another_network_size_code_or_package_is_another_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (3, 32, 32)
    other = folded()
    next(module for module in other.modules() if isinstance(module, nn.ReLU)).inplace = False
    keys = [
        traced._key(folded(), shape),
        traced._key(folded(), (3, 32, 64)),
        traced._key(folded(classes=11), shape),
        traced._key(folded("mobilenetv2"), shape),
        traced._key(other, shape),
    ]
    assert keys[0] == traced._key(folded(), shape)
    versions = importlib.metadata.version
    monkeypatch.setattr(traced, "version", lambda name: "9" if name == "onnxscript" else versions(name))
    keys.append(traced._key(folded(), shape))
    monkeypatch.setattr(traced, "CODE", ("graph/fold.py",))
    keys.append(traced._key(folded(), shape))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("damage", ["cut off", "a bit", "empty", "forged"])
def test_what_is_damaged_is_traced_anew_and_kept_again(
    cache: Path, tiny_graph: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    graph = tiny_graph("mobilenetv1")  # what the exporter gives for this network
    monkeypatch.setattr(traced, "to_onnx", exporter := Mock(return_value=graph))
    expected = trace(folded(), 3, 32, 32).content
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    spoilt = {
        "cut off": whole[:-1],
        "a bit": whole[:-1] + bytes([whole[-1] ^ 1]),
        "empty": b"",
        "forged": hashlib.sha256(b"no graph").hexdigest().encode() + b"no graph",
    }
    path.write_bytes(spoilt[damage])
    exporter.reset_mock()
    assert trace(folded(), 3, 32, 32).content == expected
    assert path.read_bytes() == whole
    exporter.assert_called_once()


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exporter: Mock
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    first, second = (trace(folded(), 3, 32, 32).content for _ in range(2))
    assert first == second
    assert exporter.call_count == 2
