"""Recipes: what is shipped for each model, read from ``export/<model>.toml``, or a file of the user's own.

A recipe says which weights a model has, what images each of them expects and is calibrated on, and the bounds that its
quantized artifact must keep. It is data; nothing in it runs.
"""

import sys
import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from edgecnn.errors import InputError
from edgecnn.files import check_regular

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
        labels: file of class names, one in each line in index order: beside the recipe, or a name in ``export/labels``.
        calibration: the set that INT8 is calibrated on by default: beside the recipe, or the name of a shipped one.
        evaluation: a labelled set kept apart from training and calibration, in the same way, or None.
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

    Raises:
        InputError: a bound that nothing, or everything, would keep.
    """

    max_drop_pp: float = 1.0
    min_agreement: float = 0.95
    max_kl: float = 0.1

    def __post_init__(self) -> None:
        for name, value, most in (
            ("max_drop_pp", self.max_drop_pp, 100.0),
            ("min_agreement", self.min_agreement, 1.0),
            ("max_kl", self.max_kl, sys.float_info.max),
        ):
            if not 0 <= value <= most:  # also false for NaN, which would let everything through
                expected = f"0 to {most:g}" if most < sys.float_info.max else "0 or more"
                raise InputError(f"gate.{name} is {value:g}, expected {expected}")


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
        imagenet: of ImageNet weights.
        own: of a user's own state dict, and of random weights; None is as ``imagenet``.
    """

    model: str
    weights: str | None = None
    builtin: Data | None = None
    imagenet: Data | None = None
    own: Data | None = None
    gate: Gate = Gate()
    train: TrainRecipe | None = None

    def data(self, source: str) -> Data:
        """The data contract of a source of weights.

        Raises:
            InputError: the recipe has none for it.
        """
        tables = {"builtin": self.builtin or self.imagenet, "imagenet": self.imagenet}
        found = tables.get(source, self.own or self.imagenet)
        if found is None:
            wanted = source if source in tables else "own"
            raise InputError(f"the recipe of {self.model} has no [{wanted}] table, which says what images they expect")
        return found


def load_recipe(model: str, file: Path | None = None) -> Recipe:
    """The recipe of a registered model.

    Args:
        file: of the user's own; None is the one that ships.

    Raises:
        InputError: the file is no TOML, has unknown, missing or ill-typed keys, or is of another model.
    """
    path = file or shipped("export") / f"{model}.toml"
    check_regular(path, "expected a TOML file like those in export/")
    try:
        recipe = msgspec.toml.decode(path.read_bytes(), type=Recipe)
    except (OSError, tomllib.TOMLDecodeError, msgspec.MsgspecError, UnicodeDecodeError, InputError) as error:
        raise InputError(f"recipe {path.name}: {error}") from error
    if recipe.model != model:
        raise InputError(f"recipe {path.name}: model is {recipe.model!r}, expected {model!r}")
    return _found_beside(recipe, path.absolute().parent)


def _found_beside(recipe: Recipe, folder: Path) -> Recipe:
    """With whole paths for what lies beside the recipe; all else is names."""

    def found(named: str | None) -> str | None:
        return str(folder / named) if named and (folder / named).exists() else named

    def of_data(data: Data | None) -> Data | None:
        names = ("labels", "calibration", "evaluation")
        return data and structs.replace(data, **{name: found(getattr(data, name)) for name in names})

    tables = {name: of_data(getattr(recipe, name)) for name in ("builtin", "imagenet", "own")}
    return structs.replace(recipe, weights=found(recipe.weights), **tables)


def load_labels(name: str) -> list[str]:
    """Class names in index order, from a file of the user's, by its whole path, or from ``export/labels``.

    Raises:
        InputError: there is no such file, or a line of it names no class.
    """
    path = Path(name) if Path(name).is_absolute() else shipped("export") / "labels" / f"{name}.txt"
    try:
        labels = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(f"labels {name!r}: {path.name} cannot be read ({reason})") from error
    empty = next((number for number, label in enumerate(labels, 1) if not label.strip()), None)
    if empty or not labels:
        raise InputError(f"labels {name!r}: line {empty or 1} is empty, expected the name of a class in each line")
    return labels


def class_names(data: Data, num_classes: int) -> list[str]:
    """The names of a source's classes in index order, or numbers where a shipped list is of another number of classes.

    Raises:
        InputError: as ``load_labels``, or the user's own list is of another number.
    """
    labels = load_labels(data.labels)
    if len(labels) == num_classes:
        return labels
    if Path(data.labels).is_absolute():
        raise InputError(f"labels {data.labels!r}: {len(labels)} names, and the weights have {num_classes} classes")
    return [str(index) for index in range(num_classes)]
