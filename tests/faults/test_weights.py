"""Weights that are not what they should be. Nothing in a file is ever executed, and nothing is loaded in part."""

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from edgecnn.errors import InputError
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model, read_state
from tests.faults.conftest import Refused

State = dict[str, torch.Tensor]
FIRST = "features.0.0.weight"


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture(scope="session")
def state() -> State:
    return dict(load_model(find_model("mobilenetv1"), "random", 10).model.state_dict())


def _zip(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _legacy(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.fixture
def export_refused(refused: Refused, tmp_path: Path) -> Callable[..., str]:
    """Exports from a file of these bytes, which must end with exit code 3 and no folder."""

    def call(content: bytes, name: str = "weights.pth") -> str:
        file = tmp_path / name
        file.write_bytes(content)
        out = tmp_path / "out"
        line = refused(3, "export", "mobilenetv1", "--target", "onnx", "--weights", file, "--size", "32", "--out", out)
        assert not out.exists()
        return line

    return call


@pytest.mark.parametrize("pack", [_zip, _legacy, pickle.dumps])
@pytest.mark.parametrize("wrapped", [False, True])
def test_F01_a_pickle_with_a_payload_is_never_executed(
    export_refused: Callable[..., str], tmp_path: Path, pack: Callable[[object], bytes], wrapped: bool
) -> None:
    marker = tmp_path / "pwned"
    evil = Evil(marker)
    line = export_refused(pack({"state_dict": {FIRST: evil}} if wrapped else evil))
    assert "holds objects, which edgecnn never loads; save model.state_dict()" in line
    assert not marker.exists()


def test_F01_a_pickled_module_is_refused(export_refused: Callable[..., str]) -> None:
    assert "holds objects, which edgecnn never loads" in export_refused(_zip(torch.nn.Linear(2, 2)))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": ["a"]}, torch.zeros(3)])
def test_F01_a_pickle_that_is_no_state_dict_is_refused(export_refused: Callable[..., str], content: object) -> None:
    assert "holds no state dict (names to tensors); save model.state_dict()" in export_refused(_zip(content))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: b"",
        lambda good: good[:5],
        lambda good: good[:200],
        lambda good: good[:-100],
        lambda good: good + b"\0" * 16,
        lambda good: struct.pack("<Q", 2**62) + good[8:],
        lambda good: b"<!doctype html>",
    ],
    ids=["empty", "in the length", "in the header", "in the data", "trailing bytes", "header of 2^62", "a web page"],
)
def test_F02_a_damaged_safetensors_is_refused(
    export_refused: Callable[..., str], state: State, spoil: Callable[[bytes], bytes]
) -> None:
    assert "weights.safetensors: not a safetensors file (" in export_refused(spoil(save(state)), "weights.safetensors")


@pytest.mark.parametrize("pack", [_zip, _legacy])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_F02_a_truncated_checkpoint_is_refused(
    export_refused: Callable[..., str], state: State, pack: Callable[[object], bytes], share: float
) -> None:
    good = pack(state)
    line = export_refused(good[: int(len(good) * share)])
    assert "weights.pth: " in line
    assert "truncated or not a torch file" in line or "not a plain state dict; it is damaged" in line


@pytest.mark.parametrize("pack", [_zip, _legacy])
def test_F02_random_damage_is_refused_or_harmless(
    state: State, tmp_path: Path, pack: Callable[[object], bytes]
) -> None:
    small = {name: tensor for name, tensor in state.items() if tensor.numel() < 100}
    good = pack(small)
    random = np.random.default_rng(2)
    file = tmp_path / "weights.pth"
    for _ in range(60):
        spoilt = bytearray(good)
        for position in random.integers(0, len(good), 3):
            spoilt[position] ^= 1 << int(random.integers(8))
        file.write_bytes(spoilt)
        try:
            read_state(file)
        except InputError as error:
            assert "weights.pth" in str(error)  # noqa: PT017 - anything else it raises fails the test


def test_F02_missing_weights_are_refused(refused: Refused, tmp_path: Path) -> None:
    line = refused(3, "export", "mobilenetv1", "--target", "onnx", "--weights", "no.pth", "--out", tmp_path / "out")
    assert "no.pth: no such file; --weights takes" in line


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda s: {n: t for n, t in s.items() if n != FIRST}, f"the state dict lacks {FIRST}"),
        (lambda s: {}, "the state dict lacks classifier.1.bias, classifier.1.weight, features.0.0.weight and 161 more"),
        (lambda s: s | {"head.bias": torch.zeros(2)}, "the state dict has unknown head.bias"),
        (
            lambda s: s | {FIRST: torch.zeros(32, 3, 5, 5)},
            f"{FIRST} has shape (32, 3, 5, 5), expected (32, 3, 3, 3)",
        ),
        (lambda s: s | {FIRST: torch.tensor(1.0)}, f"{FIRST} has shape (), expected (32, 3, 3, 3)"),
        (
            lambda s: {n: t[:0] if n.startswith("classifier.") else t for n, t in s.items()},
            "has shape (0, 1024), expected (1000, 1024)",
        ),
        (lambda s: s | {FIRST: s[FIRST].to(torch.int8)}, f"{FIRST} is torch.int8, torch.strided, on cpu, expected"),
        (lambda s: s | {FIRST: s[FIRST].to_sparse()}, f"{FIRST} is torch.float32, torch.sparse_coo, on cpu, expected"),
        (lambda s: s | {FIRST: s[FIRST].to(torch.complex64)}, f"{FIRST} is torch.complex64"),
    ],
    ids=["missing", "empty", "extra", "kernel", "scalar", "no classes", "integers", "sparse", "complex"],
)
def test_F04_weights_of_another_model_are_refused(
    export_refused: Callable[..., str], state: State, spoil: Callable[[State], State], text: str
) -> None:
    assert text in export_refused(_zip(spoil(state)))


def test_F04_another_models_weights_name_what_is_missing(refused: Refused, state: State, tmp_path: Path) -> None:
    file = tmp_path / "v1.safetensors"
    save_file(state, file)
    line = refused(3, "export", "mobilenetv2", "--target", "onnx", "--weights", file, "--out", tmp_path / "out")
    assert "mobilenetv2 weights" in line
    assert "the state dict lacks" in line
    assert "more" in line


def test_F04_another_number_of_classes_is_refused(refused: Refused, state: State, tmp_path: Path) -> None:
    file = tmp_path / "v1.safetensors"
    save_file(state, file)
    arguments = ("export", "mobilenetv1", "--target", "onnx", "--weights", file, "--num-classes", "7")
    line = refused(3, *arguments, "--out", tmp_path / "out")
    assert "classifier.1.bias has shape (10,), expected (7,); is --num-classes right?" in line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_F05_values_that_are_not_finite_are_refused(
    export_refused: Callable[..., str], state: State, value: float
) -> None:
    spoilt = state[FIRST].clone()
    spoilt[3, 1, 2, 0] = value
    assert f"{FIRST} holds NaN or infinite values" in export_refused(
        save(state | {FIRST: spoilt}), "weights.safetensors"
    )


def test_F05_values_too_large_for_float32_are_refused(export_refused: Callable[..., str], state: State) -> None:
    assert f"{FIRST} holds NaN or infinite values" in export_refused(
        _zip(state | {FIRST: state[FIRST].double() * 1e300})
    )
