"""Weights come in under any of the known spellings, are checked strictly, and are known by their hash."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from torch import Tensor

from edgecnn.data.preprocess import Picture, preprocess
from edgecnn.errors import InputError, UnavailableError, UsageError
from edgecnn.models.key_maps import to_torchvision
from edgecnn.models.registry import MODELS, find_model
from edgecnn.models.sources import OFFICIAL, sources
from edgecnn.models.weights import Loaded, load_model, read_state, state_sha256
from edgecnn.recipe import load_labels, load_recipe

State = dict[str, Tensor]
SMALL = find_model("mobilenetv3_small")
FAMILIES = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "mobilenetv3_large", "efficientnet_b0"]


@pytest.fixture(scope="module")
def state() -> State:
    return load_model(SMALL, "random", 10).model.state_dict()


@pytest.fixture(scope="module")
def lite0() -> Loaded:
    return load_model(find_model("efficientnet_lite0"), "imagenet")


# Random weights


@pytest.mark.parametrize("name", [*FAMILIES, "efficientnet_lite0"])
def test_random_weights_are_the_same_each_time_and_give_ordinary_logits(name: str) -> None:
    torch.manual_seed(1)
    first = load_model(find_model(name), "random", 10)
    torch.manual_seed(2)
    second = load_model(find_model(name), "random", 10)
    assert first.sha256 == second.sha256
    assert not first.model.training
    with torch.inference_mode():
        logits = first.model(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert torch.isfinite(logits).all()
    # Neither denormal nor exploding, and different for different images.
    assert 1e-3 < float(logits.std(0).mean()) < 1e3


def test_random_weights_leave_torchs_own_generator_alone() -> None:
    torch.manual_seed(3)
    want = torch.rand(1)
    torch.manual_seed(3)
    load_model(SMALL, "random", 10)
    assert torch.equal(torch.rand(1), want)


# Files


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model._orig_mod."])
def test_pth_files_load_bare_wrapped_and_with_the_prefixes_of_wrappers(
    tmp_path: Path, state: State, wrapper: str | None, prefix: str
) -> None:
    path = tmp_path / "weights.pth"
    content: object = {prefix + name: tensor for name, tensor in state.items()}
    torch.save(content if wrapper is None else {wrapper: content, "epoch": 3}, path)
    loaded = load_model(SMALL, str(path))
    assert loaded.num_classes == 10
    assert loaded.sha256 == state_sha256(state)


def test_safetensors_and_pt_files_have_the_hash_of_their_tensors(tmp_path: Path, state: State) -> None:
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pt")
    hashes = {load_model(SMALL, str(tmp_path / name)).sha256 for name in ("w.safetensors", "w.pt")}
    assert hashes == {state_sha256(state)}


def test_half_precision_weights_become_float32(tmp_path: Path, state: State) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    save_file(half, tmp_path / "w.safetensors")
    loaded = load_model(SMALL, str(tmp_path / "w.safetensors"))
    kinds = {tensor.dtype for tensor in loaded.model.state_dict().values()}
    assert kinds == {torch.float32, torch.int64}


def test_the_hash_sees_values_names_and_shapes_but_not_order(state: State) -> None:
    want = state_sha256(state)
    name = "features.0.0.weight"
    assert state_sha256(dict(reversed(state.items()))) == want
    assert state_sha256({**state, name: state[name].flatten()}) != want
    assert state_sha256({**state, name: state[name] + 1}) != want
    assert state_sha256({key if key != name else "other": tensor for key, tensor in state.items()}) != want
    assert state_sha256({**state, name: state[name].to(memory_format=torch.channels_last)}) == want


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("features.0.0.weight"), "lacks features.0.0.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "has unknown extra"),
        (lambda s: s.update({"features.0.0.weight": torch.zeros(16, 3, 5, 5)}), "has shape .16, 3, 5, 5., expected"),
        (lambda s: s["features.0.0.weight"].fill_(float("nan")), "holds NaN or infinite values"),
        (lambda s: s["features.0.1.running_var"].fill_(float("inf")), "holds NaN or infinite values"),
    ],
)
def test_a_state_dict_is_checked_strictly(tmp_path: Path, state: State, change: object, message: str) -> None:
    changed = {name: tensor.clone() for name, tensor in state.items()}
    assert callable(change)
    change(changed)
    torch.save(changed, tmp_path / "w.pth")
    with pytest.raises(InputError, match=message):
        load_model(SMALL, str(tmp_path / "w.pth"))


def test_another_number_of_classes_is_refused_with_a_hint(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"is --num-classes right\?"):
        load_model(SMALL, str(tmp_path / "w.pth"), num_classes=11)


def test_the_last_layer_counts_the_classes_wherever_it_stands(tmp_path: Path, state: State) -> None:
    torch.save(dict(reversed(state.items())), tmp_path / "w.pth")
    assert load_model(SMALL, str(tmp_path / "w.pth")).num_classes == 10


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "features.0.0.weight",
            (16, 1, 3, 3),
            "it takes images of 1 channels, and is to be given 3$",
        ),
        ("features.0.0.weight", (16, 3, 5, 5), r"expected \(16, 3, 3, 3\)$"),
        ("classifier.0.weight", (1024, 500), r"expected \(1024, 576\)$"),
        ("classifier.3.weight", (11, 1024), r"expected \(10, 1024\)$"),
    ],
)
def test_a_shape_is_not_blamed_on_a_number_of_classes_that_nobody_gave(
    tmp_path: Path, state: State, name: str, shape: tuple[int, ...], message: str
) -> None:
    torch.save(state | {name: torch.zeros(shape)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=message):
        load_model(SMALL, str(tmp_path / "w.pth"))


@pytest.mark.parametrize(("wrapper", "other"), [("state_dict", "state_dict_ema"), ("model", "model_ema")])
def test_one_of_two_state_dicts_is_never_taken_in_silence(
    tmp_path: Path, state: State, wrapper: str, other: str
) -> None:
    content = {other: {"n_averaged": torch.tensor(3), **state}, wrapper: state, "optimizer": {"state": {}}, "none": {}}
    torch.save(content, tmp_path / "w.pth")
    message = f"holds several state dicts, '{other}' and '{wrapper}'; save the one you want by itself"
    with pytest.raises(InputError, match=message):
        read_state(tmp_path / "w.pth")
    torch.save(content | {other: {}}, tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth").keys() == state.keys()


class Trap:
    """What pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('this ran')",)


def test_a_pth_file_never_runs_code(tmp_path: Path) -> None:
    torch.save({"state_dict": Trap()}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="holds objects, which edgecnn never loads"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": 1}, torch.zeros(1)])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match="holds no state dict"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_missing_empty_and_cut_files_are_refused(tmp_path: Path, state: State, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    with pytest.raises(InputError, match="no such file"):
        read_state(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="w\\."):
        read_state(path)
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="w\\."):
        read_state(path)


# Key maps


def efficientnet_pytorch(name: str) -> State:
    """Small tensors under efficientnet-pytorch's names, each filled with its position, made independently of ours."""
    expansions = [1, 6, 6, 6, 6, 6, 6]
    repeats = [1, 2, 2, 3, 3, 4, 1]
    squeeze = name == "efficientnet_b0"
    names: list[str] = ["_conv_stem.weight"]

    def norm(prefix: str) -> None:
        names.extend(
            f"{prefix}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        )

    norm("_bn0")
    index = 0
    for expansion, count in zip(expansions, repeats, strict=True):
        for _ in range(count):
            block = f"_blocks.{index}"
            if expansion != 1:
                names.append(f"{block}._expand_conv.weight")
                norm(f"{block}._bn0")
            names.append(f"{block}._depthwise_conv.weight")
            norm(f"{block}._bn1")
            if squeeze:
                names += [f"{block}._se_{part}.{leaf}" for part in ("reduce", "expand") for leaf in ("weight", "bias")]
            names.append(f"{block}._project_conv.weight")
            norm(f"{block}._bn2")
            index += 1
    names.append("_conv_head.weight")
    norm("_bn1")
    names += ["_fc.weight", "_fc.bias"]
    return {name: torch.tensor(float(position)) for position, name in enumerate(names)}


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_b0"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_efficientnet_pytorchs_names_map_one_to_one_in_order(name: str, prefix: str) -> None:
    theirs = efficientnet_pytorch(name)
    ours = to_torchvision(name, {prefix + key: tensor for key, tensor in theirs.items()})
    with torch.device("meta"):
        want = find_model(name).build().state_dict()
    # Both projects list their layers from image to logits, so the order tells which tensor is which.
    assert list(ours) == list(want)
    assert [float(tensor) for tensor in ours.values()] == [float(tensor) for tensor in theirs.values()]


def test_our_own_names_pass_unchanged(state: State) -> None:
    assert to_torchvision("mobilenetv3_small", state) is state


def test_an_efficientnets_names_are_refused_for_another_model() -> None:
    with pytest.raises(InputError, match=r"is an EfficientNet's .* expected mobilenetv2's"):
        to_torchvision("mobilenetv2", efficientnet_pytorch("efficientnet_b0"))


# Sources


def test_random_is_last_and_never_a_default() -> None:
    for name in MODELS:
        assert sources(name)[-1] == "random"
        assert load_recipe(name).weights != "random"


def test_a_source_that_a_model_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(UsageError, match="mobilenetv1 has no imagenet weights; it has random"):
        load_model(find_model("mobilenetv1"), "imagenet")
    with pytest.raises(UsageError, match="unknown weights 'imagnet': did you mean imagenet"):
        load_model(find_model("mobilenetv2"), "imagnet")


def test_pins_agree_with_the_digits_in_the_official_names() -> None:
    for url, sha256 in OFFICIAL.values():
        assert url.removesuffix(".pth").rpartition("-")[2] == sha256[:8]
        assert len(sha256) == 64


def test_nothing_is_fetched_where_that_is_not_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UnavailableError, match="is not cached"):
        load_model(find_model("mobilenetv2"), "imagenet", fetch=False)


# Real weights, real photographs


@pytest.mark.parametrize(
    ("picture", "classes"), [("chelsea", range(281, 286)), ("coffee", [967]), ("rocket", [657, 744])]
)
def test_lite0_knows_photographs(lite0: Loaded, picture: str, classes: range | list[int]) -> None:
    pixels: Picture = getattr(data, picture)()
    image = preprocess(pixels, load_recipe("efficientnet_lite0").data("imagenet").preprocess)
    with torch.inference_mode():
        logits = lite0.model(torch.from_numpy(image[None])).numpy()
    assert np.argmax(logits) in classes


def test_imagenets_labels_stand_at_their_indices(lite0: Loaded) -> None:
    labels = load_labels("imagenet")
    assert len(labels) == lite0.num_classes == 1000
    assert "tabby" in labels[281]
    assert labels[967] == "espresso"
