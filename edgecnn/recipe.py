"""Recipes: what is shipped for each model, read from ``export/<model>.toml``.

A recipe says which weights a model has, what images each of them expects and is calibrated on, and the bounds that its
quantized artifact must keep. It is data; nothing in it runs.
"""

import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct

from edgecnn.errors import InputError

PACKAGE = Path(__file__).parent

INTERPOLATIONS = ("bilinear", "bicubic")
# Smallest standard deviation of pixels scaled to 0..1. A network that reads pixels of 0..255 has mean 0 and std 1/255,
# and one whose statistics were noted in pixels has a mean of 120: both are slips, for no network here is of that kind.
SMALLEST_STD = 0.01
LARGEST_INPUT = 1 / SMALLEST_STD  # magnitude of a normalised value


def shipped(folder: str) -> Path:
    """``export`` or ``calibration``: inside an installed package, else beside it in a checkout."""
    inside = PACKAGE / "_shipped" / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


class Preprocess(Struct, frozen=True, forbid_unknown_fields=True):
    """The one transform from picture to network input: resize, centre crop, scale, normalise.

    Args:
        height: of the network's input, pixels.
        width: of the network's input, pixels.
        crop: share of the resized picture that the crop keeps, in (0, 1]; 0.875 is ImageNet's 224 of 256.
        interpolation: ``bilinear`` or ``bicubic``, antialiased.
        mean: of each channel, subtracted after scaling to 0..1; itself in 0..1.
        std: of each channel, divided by; 0.01 to 1.

    Raises:
        InputError: a value beyond these, with which un-normalised or constant images would reach the network.
    """

    height: int
    width: int
    crop: float
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise InputError(f"preprocess: height and width are {self.height} and {self.width}, expected pixels")
        if not 0 < self.crop <= 1:  # also false for NaN, as all below
            raise InputError(f"preprocess.crop is {self.crop:g}, expected a share of the picture above 0, at most 1")
        if self.interpolation not in INTERPOLATIONS:
            raise InputError(
                f"preprocess.interpolation is {self.interpolation!r}, expected {' or '.join(INTERPOLATIONS)}"
            )
        for name, values, low in (("mean", self.mean, 0.0), ("std", self.std, SMALLEST_STD)):
            if len(values) != 3:
                raise InputError(f"preprocess.{name} has {len(values)} values, expected one for each of 3 channels")
            wrong = [value for value in values if not low <= value <= 1]
            if wrong:
                units = " (are these of pixels in 0..255? divide by 255)" if wrong[0] > 1 else ""
                raise InputError(
                    f"preprocess.{name} is {wrong[0]:g}, expected {low:g} to 1, of pixels scaled to 0..1{units}"
                )


class Data(Struct, frozen=True, forbid_unknown_fields=True):
    """What one source of weights was trained on, and therefore expects.

    Args:
        labels: name of a file in ``export/labels``.
        calibration: name of the set that INT8 is calibrated on by default.
        evaluation: name of a labelled set kept apart from training and calibration, or None.
    """

    labels: str
    preprocess: Preprocess
    calibration: str
    evaluation: str | None = None


class Gate(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds that an artifact must keep against the eager model.

    Args:
        max_drop_pp: largest loss of top-1, percentage points, where there are labels.
        min_agreement: smallest share of equal top-1 answers, 0..1.
        max_kl: largest mean KL divergence of the softmax from the eager model's, nats.
    """

    max_drop_pp: float = 1.0
    min_agreement: float = 0.95
    max_kl: float = 0.1


class TrainRecipe(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides builtin weights, but for the images and the seed.

    Args:
        sizes: side in pixels of each epoch's images; its length is the number of epochs.
        learning_rate: peak of the one-cycle schedule.
        warm_up: share of all steps before the peak.
        shift: largest shift of an image in either direction, as a share of its side.
        erase: probability of erasing a patch of an image.
    """

    sizes: tuple[int, ...]
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: float = 0.3
    label_smoothing: float = 0.1
    shift: float = 0.07
    erase: float = 0.2


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """One model's recipe.

    Args:
        weights: the default source of weights, or None where the user must name one.
        builtin: of the weights that ship with the package.
        imagenet: of ImageNet weights, and of a user's own state dict.
    """

    model: str
    imagenet: Data
    weights: str | None = None
    builtin: Data | None = None
    gate: Gate = Gate()
    train: TrainRecipe | None = None

    def data(self, source: str) -> Data:
        """The data contract of a source of weights: ``builtin`` has its own, everything else is taken as ImageNet's."""
        return self.builtin if source == "builtin" and self.builtin is not None else self.imagenet


def load_recipe(model: str, folder: Path | None = None) -> Recipe:
    """The recipe of a registered model.

    Raises:
        InputError: the file is no TOML, or has unknown, missing or ill-typed keys.
    """
    path = (folder or shipped("export")) / f"{model}.toml"
    try:
        recipe = msgspec.toml.decode(path.read_bytes(), type=Recipe)
    except (OSError, tomllib.TOMLDecodeError, msgspec.MsgspecError, UnicodeDecodeError, InputError) as error:
        raise InputError(f"recipe {path.name}: {error}") from error
    if recipe.model != model:
        raise InputError(f"recipe {path.name}: model is {recipe.model!r}, expected {model!r}")
    return recipe


def load_labels(name: str) -> list[str]:
    """Class names in index order, from ``export/labels``.

    Raises:
        InputError: there is no such file.
    """
    path = shipped("export") / "labels" / f"{name}.txt"
    try:
        return path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InputError(f"labels {name!r}: {path.name} cannot be read ({error.strerror})") from error


def class_names(data: Data, num_classes: int) -> list[str]:
    """The names of a source's classes in index order, or numbers where the model has another number of classes.

    Raises:
        InputError: as ``load_labels``.
    """
    labels = load_labels(data.labels)
    return labels if len(labels) == num_classes else [str(index) for index in range(num_classes)]
