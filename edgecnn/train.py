"""The recipe behind the builtin weights: Fashion-MNIST, bf16 autocast, a checkpoint every epoch, resumable.

The first epochs may run on smaller images (progressive learning, EfficientNetV2, arXiv 2104.00298), the last ones run
on the final size. Nothing is selected on the test split: the number of epochs is fixed beforehand and the last state is
the result; 5,000 training images are held out to watch it.
"""

import io
import json
import pickle
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs
from msgspec.structs import replace
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from edgecnn.data import fashion_mnist
from edgecnn.data.preprocess import crop
from edgecnn.errors import InputError, StorageError, UsageError
from edgecnn.files import check_outside, write_whole
from edgecnn.models.registry import MODELS, find_model
from edgecnn.models.sources import TRAINED
from edgecnn.progress import Progress
from edgecnn.recipe import Preprocess, TrainRecipe, load_recipe

HELD_OUT = 5_000  # the last images of the training split
LARGEST_GRADIENT = 5.0  # norm, beyond which a step is scaled down


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: ``loss`` is the mean training loss, ``accuracy`` on the held-out images, 0..1."""

    epoch: int
    size: int
    loss: float
    accuracy: float
    seconds: float


def augment(x: Tensor, recipe: TrainRecipe, size: int, generator: torch.Generator) -> Tensor:
    """Shifts and flips each image on its own, resizes the batch, erases a patch of some.

    Args:
        x: (N, 1, S, S) uint8.

    Returns:
        (N, 3, size, size) float32 in -1..1, as the builtin preprocessing has it.
    """
    n, side = len(x), x.shape[-1]
    margin = round(side * recipe.shift)
    padded = F.pad(x, (margin, margin, margin, margin))
    top, left = torch.randint(0, 2 * margin + 1, (2, n), generator=generator)
    rows = top[:, None] + torch.arange(side)
    columns = left[:, None] + torch.arange(side)
    flip = torch.rand(n, generator=generator) < 0.5
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    index = torch.arange(n)[:, None, None]
    shifted = padded[index, 0, rows[:, :, None], columns[:, None, :]][:, None].float()
    if size != side:
        shifted = F.interpolate(shifted, (size, size), mode="bilinear", antialias=True)
    patch = size // 3
    corner = torch.randint(0, size - patch, (2, n), generator=generator)
    span = torch.arange(size)
    inside_rows = (span >= corner[0][:, None]) & (span < corner[0][:, None] + patch)
    inside_columns = (span >= corner[1][:, None]) & (span < corner[1][:, None] + patch)
    erased = (torch.rand(n, generator=generator) < recipe.erase)[:, None, None]
    mask = inside_rows[:, :, None] & inside_columns[:, None, :] & erased
    noise = torch.rand(shifted.shape, generator=generator) * 255
    shifted = torch.where(mask[:, None], noise, shifted)
    return (shifted / 127.5 - 1).expand(-1, 3, -1, -1)


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Index tensors of a shuffled epoch; the last, short batch is dropped, since batch norm dislikes it."""
    yield from torch.randperm(count, generator=generator)[: count // size * size].split(size)  # type: ignore[no-untyped-call]  # torch ships it untyped


@torch.no_grad()
def accuracy(model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.integer], batch: int = 250) -> float:
    """Top-1 in 0..1, in float32. ``images: (N, S, S) uint8``."""
    model.eval()
    right = 0
    for start in range(0, len(images), batch):
        x = torch.from_numpy(images[start : start + batch]).float()[:, None] / 127.5 - 1
        logits = model(x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))
        right += int((logits.argmax(1).numpy() == labels[start : start + batch]).sum())
    return right / len(images)


def depthwise_in_float32(model: nn.Module) -> None:
    """Takes depthwise convolutions out of autocast: on CPUs their gradients are several times slower in bf16."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.forward = partial(_float32, module)  # type: ignore[method-assign]  # of this instance alone


def _float32(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        y: Tensor = convolution._conv_forward(x.float(), convolution.weight, convolution.bias)
    return y


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay on convolution and linear weights alone, not on biases and norms."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def train(
    name: str,
    model: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    recipe: TrainRecipe,
    seed: int,
    checkpoint: Path,
    progress: Progress,
) -> list[Epoch]:
    """Trains ``model`` in place, from ``checkpoint`` on where that exists.

    Args:
        name: of the model.
        images: (N, S, S) uint8 with N above 5,000; the last 5,000 are held out.
        labels: (N,) in 0..num_classes-1.

    Raises:
        InputError: the checkpoint is of another recipe, seed or model.
    """
    train_x = torch.from_numpy(images[:-HELD_OUT])[:, None]
    train_y = torch.from_numpy(labels[:-HELD_OUT].astype(np.int64))
    epochs, steps = len(recipe.sizes), len(train_x) // recipe.batch_size
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's overloads
    depthwise_in_float32(model)
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe.weight_decay), recipe.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, epochs * steps, pct_start=recipe.warm_up, cycle_momentum=False
    )
    history: list[Epoch] = []
    made_from = json.dumps(
        {"model": name, "recipe": structs.asdict(recipe), "seed": seed, "images": len(train_x)}, sort_keys=True
    )
    if checkpoint.exists():
        state = _read_checkpoint(checkpoint, made_from)
        try:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            history = [Epoch(**row) for row in state["history"]]
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise _no_checkpoint(checkpoint, error) from error
    for epoch in range(len(history), epochs):
        started = time.monotonic()
        # Seeded by the epoch, so that a resumed run sees what an unbroken one would have.
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        torch.manual_seed(seed * 1000 + epoch)  # dropout and stochastic depth
        model.train()
        total = torch.zeros(())
        with progress.stage(f"epoch {epoch + 1} of {epochs}", steps):
            for index in batches(len(train_x), recipe.batch_size, generator):
                x = augment(train_x[index], recipe, recipe.sizes[epoch], generator)
                with torch.autocast("cpu", torch.bfloat16):
                    logits = model(x.contiguous(memory_format=torch.channels_last))
                loss = F.cross_entropy(logits.float(), train_y[index], label_smoothing=recipe.label_smoothing)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
                nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()
                total += loss.detach()
                progress.advance()
        held_out = accuracy(model, images[-HELD_OUT:], labels[-HELD_OUT:])
        row = Epoch(epoch, recipe.sizes[epoch], float(total) / steps, held_out, time.monotonic() - started)
        history.append(row)
        buffer = io.BytesIO()
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "history": [asdict(row) for row in history],
                "made_from": made_from,
            },
            buffer,
        )
        write_whole(checkpoint, buffer.getvalue())
    return history


def _read_checkpoint(path: Path, made_from: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        found = state["made_from"]
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise _no_checkpoint(path, error) from error
    if found != made_from:
        raise InputError(f"{path}: made from {found}, expected {made_from}; name another --out, or delete it")
    return state


def _no_checkpoint(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: no checkpoint of this command ({type(error).__name__}); delete it to start anew")


def train_builtin(
    name: str,
    out: Path,
    seed: int = 0,
    epochs: int | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains a model by its recipe and writes ``<model>.safetensors`` in half precision, with a record beside it.

    Every epoch leaves ``<model>.checkpoint.pt``; calling again with the same arguments goes on from there.

    Args:
        epochs: instead of the recipe's number; image sizes keep their proportion.
        limit: train on this many images only, to try things out.

    Returns:
        The record: recipe, seed, history, and top-1 of the rounded weights on the 10,000 test images.

    Raises:
        UsageError: the model's recipe has no training, or the arguments make none.
        InputError: the checkpoint is of another recipe, seed or number of images.
        StorageError: the folder lies in an artifact, or is full or read-only.
    """
    progress = progress or Progress()
    spec = find_model(name)
    recipe, data = load_recipe(spec.name).train, load_recipe(spec.name).builtin
    if recipe is None or data is None:
        trained = [model for model in MODELS if load_recipe(model).train is not None]
        raise UsageError(f"{spec.name} has no training recipe; {', '.join(trained)} have one")
    if epochs is not None:
        if epochs < 1:
            raise UsageError(f"--epochs is {epochs}, expected 1 or more")
        recipe = replace(recipe, sizes=tuple(recipe.sizes[i * len(recipe.sizes) // epochs] for i in range(epochs)))
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed is {seed}, expected 0 to {2**63 - 1}")
    weights, checkpoint = out / f"{spec.name}.safetensors", out / f"{spec.name}.checkpoint.pt"
    check_outside(weights)
    if weights.exists() and not checkpoint.exists():
        raise StorageError(f"{weights}: is there already, without the checkpoint that it came from; name another --out")
    with progress.stage("load Fashion-MNIST"):
        images, labels = _pictures("train", data.preprocess)
        if limit is not None:
            if not recipe.batch_size <= limit <= len(images) - HELD_OUT:
                raise UsageError(f"--limit is {limit}, expected {recipe.batch_size} to {len(images) - HELD_OUT}")
            images = np.concatenate([images[:limit], images[-HELD_OUT:]])
            labels = np.concatenate([labels[:limit], labels[-HELD_OUT:]])
    out.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = spec.build(len(fashion_mnist.CLASSES))
        history = train(spec.name, model, images, labels, recipe, seed, checkpoint, progress)
    state = {key: t.half() if t.is_floating_point() else t for key, t in model.state_dict().items()}
    model.load_state_dict({key: t.float() if t.is_floating_point() else t for key, t in state.items()})
    with progress.stage("test"):
        test_images, test_labels = _pictures("test", data.preprocess)
        top1 = accuracy(model, test_images, test_labels)
    record = {
        "model": spec.name,
        "weights": str(weights),
        "seed": seed,
        "images": len(images) - HELD_OUT,
        "recipe": structs.asdict(recipe),
        "history": [asdict(row) for row in history],
        "top1": round(top1, 4),
        "n": len(test_images),
    }
    kept = {key: json.dumps(record[key]) for key in TRAINED}
    write_whole(weights, save({k: t.contiguous() for k, t in state.items()}, kept))
    write_whole(out / f"{spec.name}.json", (json.dumps(record, indent=1) + "\n").encode())
    return record


def _pictures(split: str, how: Preprocess) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Grey pictures ``(N, S, S) uint8``, resized as the builtin preprocessing does, and labels ``(N,)``."""
    found = fashion_mnist.load(split)
    colour = np.repeat(found.images[..., None], 3, axis=3)
    return np.stack([crop(picture, how)[..., 0] for picture in colour]), found.labels
