"""A calibration cache saves the climb and changes nothing; one of anything else is refused, and never overwritten."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn import pipeline
from edgecnn.data.sets import load_set
from edgecnn.errors import InputError, IntegrityError
from edgecnn.graph.graph import Graph
from edgecnn.pipeline import Exported, export
from edgecnn.progress import Progress
from edgecnn.quant.cache import Key, cache_key, pack, unpack
from edgecnn.quant.ladder import Climbed, climb
from edgecnn.quant.lower.profiles import ONNXRUNTIME, OPENVINO, PORTABLE, TENSORRT
from edgecnn.quant.lower.qdq import Profile, lower
from edgecnn.recipe import Preprocess
from edgecnn.request import ExportRequest
from tests.conftest import Command
from tests.faults.conftest import EXPORT, Refused, contents

HOW = Preprocess(32, 32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
INT8 = (*EXPORT, "--int8", "--effort", "fast")


def tiny(photos: Path, out: Path, cache: Path | None) -> Exported:
    return export(
        ExportRequest("mobilenetv1", "onnx", "int8", "random", str(photos), cache, (32, 32), 10, effort="fast", out=out)
    )


@pytest.fixture(scope="module")
def cached(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported]:
    folder = tmp_path_factory.mktemp("cache")
    return folder / "table.npz", tiny(photos, folder / "first", folder / "table.npz")


@pytest.fixture
def cache(cached: tuple[Path, Exported], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copy(cached[0], tmp_path / "table.npz"))


def test_the_second_export_climbs_nothing_and_writes_the_same_bytes(
    cached: tuple[Path, Exported], photos: Path, tmp_path: Path
) -> None:
    path, first = cached
    before = path.read_bytes()
    second = tiny(photos, tmp_path / "second", path)
    without = tiny(photos, tmp_path / "without", None)
    assert "calibrate" in first.stages_s
    assert "calibrate" not in second.stages_s
    assert contents(first.artifact.folder) == contents(second.artifact.folder) == contents(without.artifact.folder)
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*.tmp"))


@pytest.mark.parametrize("profile", [OPENVINO, ONNXRUNTIME, PORTABLE, TENSORRT], ids=lambda profile: profile.name)
def test_a_table_comes_back_whole_whatever_runtime_it_is_for(
    tiny_graph: Callable[..., Graph], photos: Path, profile: Profile
) -> None:
    images = load_set(str(photos), [])
    climbed = climb(tiny_graph(), images, HOW, "fast", profile, Progress())
    key = cache_key(tiny_graph(), images, HOW, "fast", profile.name, 1.0)
    back = unpack(pack(climbed, key), key, Path("table.npz"))
    assert back.table.activations == climbed.table.activations
    assert back.table.layers == climbed.table.layers
    assert lower(back.graph, back.table, profile).content == lower(climbed.graph, climbed.table, profile).content


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("network", ("--size", "64")),
        ("network", ("--num-classes", "11")),
        ("effort", ("--effort", "balanced")),
        ("runtime", ("--target", "openvino")),
    ],
)
def test_F23_a_cache_of_anything_else_is_refused(
    refused: Refused, cache: Path, photos: Path, tmp_path: Path, what: str, changes: tuple[str, ...]
) -> None:
    before, target = cache.read_bytes(), () if what == "runtime" else ("--target", "onnx")
    arguments = (*INT8, *target, *changes, "--calib", photos, "--calib-cache", cache, "--out", tmp_path / "out")
    line = refused(3, *arguments)
    assert f"{cache}: calibrated for another {what}, " in line
    assert "name another file with --calib-cache, or remove this one" in line
    assert cache.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_F23_a_cache_of_layers_that_were_timed_otherwise_is_refused(
    command: Command, refused: Refused, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times choose layers in `--effort best` alone."""
    monkeypatch.setattr(pipeline, "CHOOSING_S", 0.0)  # the fewest rounds: what is chosen does not matter here
    cache = tmp_path / "table.npz"
    arguments = (*INT8, "--target", "openvino", "--effort", "best", "--calib", photos, "--calib-cache", cache)
    assert command(*arguments, "--out", tmp_path / "out").code == 0
    line = refused(3, *arguments, "--batch", "2", "--out", tmp_path / "other")
    assert f"{cache}: calibrated for another device, batch 1, openvino " in line
    assert ", expected batch 2, openvino " in line


def test_F23_a_cache_of_other_images_is_refused(refused: Refused, cache: Path, images: Path, tmp_path: Path) -> None:
    shutil.copy(images / "1.jpg", images / "3.jpg")
    line = refused(3, *INT8, "--target", "onnx", "--calib", images, "--calib-cache", cache, "--out", tmp_path / "out")
    assert f"{cache}: calibrated for another image set, " in line


def test_F23_a_cache_of_other_labels_is_refused(tiny_graph: Callable[..., Graph], photos: Path, tmp_path: Path) -> None:
    """What rungs say of top-1 is of these labels, though the table is not."""
    keys = []
    for shift in (0, 1, None):
        rows = [
            f"{path},{'' if shift is None else (shift + at) % 10}" for at, path in enumerate(sorted(photos.iterdir()))
        ]
        (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(rows))
        images = load_set(str(tmp_path / "list.csv"), [str(index) for index in range(10)])
        keys.append(cache_key(tiny_graph(), images, HOW, "fast", "onnx", 1.0))
    assert keys[0]["image set"] == keys[1]["image set"] == keys[2]["image set"]
    assert len({key["labels"] for key in keys}) == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"notes of mine\n"])
def test_F23_what_is_no_cache_is_refused_and_stays(
    refused: Refused, photos: Path, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    line = refused(7, *INT8, "--target", "onnx", "--calib", photos, "--calib-cache", path, "--out", tmp_path / "out")
    assert f"{path}: no calibration cache, or a damaged one (" in line
    assert path.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_refused_before_any_work(
    refused: Refused, photos: Path, tmp_path: Path
) -> None:
    arguments = (*INT8, "--target", "onnx", "--calib", photos, "--out", tmp_path / "out")
    assert "is no file" in refused(8, *arguments, "--calib-cache", tmp_path)
    assert "there is no folder" in refused(8, *arguments, "--calib-cache", tmp_path / "none" / "table.npz")
    assert "one --target" in refused(2, *arguments, "--target", "openvino", "--calib-cache", tmp_path / "t.npz")
    line = refused(2, *EXPORT, "--target", "onnx", "--calib-cache", tmp_path / "t.npz")
    assert "--calib-cache is for --int8 alone" in line


# The file itself


@pytest.fixture(scope="module")
def climbed(tiny_graph: Callable[..., Graph], photos: Path) -> tuple[Climbed, Key]:
    graph, images = tiny_graph(), load_set(str(photos), [])
    found = climb(graph, images, HOW, "balanced", PORTABLE, Progress())
    return found, cache_key(graph, images, HOW, "balanced", PORTABLE.name, 1.0)


def test_a_table_comes_back_as_it_was(climbed: tuple[Climbed, Key]) -> None:
    found, key = climbed
    content = pack(found, key)
    again = unpack(content, key, Path("table.npz"))
    assert pack(again, key) == content
    assert again.graph.content == found.graph.content
    assert again.table.activations == found.table.activations
    assert again.table.layers == found.table.layers
    assert [rung.as_json() for rung in again.rungs] == [rung.as_json() for rung in found.rungs]
    for name, quantizer in found.table.weights.items():
        np.testing.assert_array_equal(again.table.weights[name].codes, quantizer.codes)
        np.testing.assert_array_equal(again.table.weights[name].scale, quantizer.scale)
        assert again.table.weights[name].codes.dtype == np.int8
    for name, bias in found.table.biases.items():
        np.testing.assert_array_equal(again.table.biases[name], bias)


@pytest.mark.parametrize("name", ["edgecnn", "network", "preprocessing", "image set", "effort", "runtime"])
def test_whatever_differs_is_named(climbed: tuple[Climbed, Key], name: str) -> None:
    found, key = climbed
    assert name in key
    with pytest.raises(
        InputError, match=rf"table\.npz: calibrated for another {name}, .* expected other; name another"
    ):
        unpack(pack(found, key), key | {name: "other"}, Path("table.npz"))


def test_damage_is_found(climbed: tuple[Climbed, Key]) -> None:
    found, key = climbed
    good = pack(found, key)
    random = np.random.default_rng(7)
    refusals = 0
    for position in random.integers(0, len(good), 60):
        spoilt = bytearray(good)
        spoilt[position] ^= 1 << int(random.integers(8))
        try:
            again = unpack(bytes(spoilt), key, Path("table.npz"))
        except IntegrityError:
            refusals += 1
        else:  # such as a date in the container
            assert pack(again, key) == good
    assert refusals > 50
    for length in random.integers(0, len(good), 10):
        with pytest.raises(IntegrityError, match=r"table\.npz: no calibration cache, or a damaged one"):
            unpack(good[:length], key, Path("table.npz"))
