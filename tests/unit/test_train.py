"""Training goes on where it stopped, as if nothing had happened, and takes no checkpoint for what it is not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from edgecnn import train
from edgecnn.data import fashion_mnist
from edgecnn.data.fashion_mnist import Split
from edgecnn.errors import InputError, StorageError
from edgecnn.models.registry import find_model
from edgecnn.models.sources import TRAINED, trained_here
from edgecnn.progress import Progress
from edgecnn.recipe import TrainRecipe

RECIPE = TrainRecipe(sizes=(32, 32), batch_size=16)
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 32, 32), dtype=np.uint8)
LABELS = np.arange(64) % 10

Run = Callable[..., dict[str, Tensor]]


class Stopped(Progress):
    """Ends the work in the middle of the second epoch."""

    steps = 0

    def advance(self, count: int = 1) -> None:
        self.steps += count
        if self.steps == 4:
            raise KeyboardInterrupt


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(checkpoint, progress, name)``: trains for two epochs of three steps; the weights."""
    monkeypatch.setattr(train, "HELD_OUT", 16)

    def go(checkpoint: str, progress: Progress | None = None, name: str = "mobilenetv3_small") -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = find_model(name).build(10)
        train.train(name, model, IMAGES, LABELS, RECIPE, 0, tmp_path / checkpoint, progress or Progress())
        return model.state_dict()

    return go


def test_what_is_resumed_ends_as_what_was_not_interrupted(run: Run) -> None:
    whole = run("whole.pt")
    with pytest.raises(KeyboardInterrupt):
        run("broken.pt", Stopped())
    resumed = run("broken.pt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_finished_training_is_not_repeated(run: Run) -> None:
    whole = run("whole.pt")
    nothing = Stopped()
    again = run("whole.pt", nothing)
    assert nothing.steps == 0
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_checkpoint_of_anything_else_is_refused(run: Run, tmp_path: Path) -> None:
    run("whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    with pytest.raises(InputError, match=r'made from .*"mobilenetv3_small".*, expected .*"mobilenetv3_large"'):
        run("whole.pt", name="mobilenetv3_large")
    state = torch.load(tmp_path / "whole.pt", weights_only=True)
    for spoilt in (
        state | {"model": {}},
        state | {"optimizer": None},
        state | {"history": [{"epoch": 1}]},
        {key: value for key, value in state.items() if key != "schedule"},
        [state],
    ):
        torch.save(spoilt, tmp_path / "whole.pt")
        with pytest.raises(InputError, match=r"whole\.pt: no checkpoint of this command \(\w+\); delete it"):
            run("whole.pt")
    (tmp_path / "whole.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"whole\.pt: no checkpoint of this command"):
        run("whole.pt")


@pytest.mark.parametrize("size", [32, 24])
def test_images_are_shifted_flipped_resized_and_erased(size: int) -> None:
    x = torch.from_numpy(IMAGES)[:, None]
    once, again = (train.augment(x, RECIPE, size, torch.Generator().manual_seed(1)) for _ in range(2))
    assert once.shape == (64, 3, size, size)
    assert once.dtype == torch.float32
    assert once.min() >= -1
    assert once.max() <= 1
    assert torch.equal(once, again)
    assert torch.equal(once[:, 0], once[:, 2]), "grey"


def test_an_image_that_nothing_is_done_to_stays_or_is_mirrored() -> None:
    still = TrainRecipe(sizes=(32,), shift=0.0, erase=0.0)
    found = train.augment(torch.from_numpy(IMAGES)[:, None], still, 32, torch.Generator().manual_seed(1))[:, 0]
    plain = torch.from_numpy(IMAGES).float() / 127.5 - 1
    same, mirrored = ((found == other).all(dim=(1, 2)) for other in (plain, plain.flip(2)))
    assert (same ^ mirrored).all()
    assert 0 < int(same.sum()) < 64


def test_batches_are_whole_and_every_image_is_in_one_at_most() -> None:
    found = torch.cat(list(train.batches(50, 16, torch.Generator().manual_seed(0))))
    assert len(found) == len(set(found.tolist())) == 48


def test_only_matrices_decay() -> None:
    decayed, others = train.parameter_groups(find_model("mobilenetv3_small").build(10), 0.1)
    assert {tensor.ndim for tensor in decayed["params"]} == {2, 4}  # type: ignore[attr-defined]  # as torch types them
    assert {tensor.ndim for tensor in others["params"]} == {1}  # type: ignore[attr-defined]  # as torch types them
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few of the real images as make an epoch of two steps."""
    load = fashion_mnist.load

    def few(split: str) -> Split:
        found = load(split)
        return Split(found.images[:160], found.labels[:160])

    monkeypatch.setattr(train, "HELD_OUT", 32)
    monkeypatch.setattr(fashion_mnist, "load", few)


@pytest.mark.usefixtures("short")
def test_weights_come_with_their_record_and_say_that_they_were_made_here(tmp_path: Path) -> None:
    record = train.train_builtin("mobilenetv3_small", tmp_path, epochs=1)
    weights = Path(record["weights"])
    assert json.loads((tmp_path / "mobilenetv3_small.json").read_text()) == json.loads(json.dumps(record))
    assert (record["images"], record["n"], len(record["history"])) == (128, 160, 1)
    with safe_open(weights, "numpy") as file:
        notes = file.metadata()
        assert {str(file.get_slice(name).get_dtype()) for name in file.keys()} == {"F16", "I64"}  # noqa: SIM118  # no dict
    assert notes.keys() == set(TRAINED)
    assert json.loads(notes["top1"]) == record["top1"]
    assert trained_here(str(weights))
    again = train.train_builtin("mobilenetv3_small", tmp_path, epochs=1)
    assert again["top1"] == record["top1"]


@pytest.mark.usefixtures("short")
def test_weights_of_somebody_else_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mobilenetv3_small.safetensors").write_bytes(b"precious")
    with pytest.raises(StorageError, match=r"is there already, without the checkpoint that it came from"):
        train.train_builtin("mobilenetv3_small", tmp_path, epochs=1)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]
