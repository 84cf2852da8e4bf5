"""Image sets: a folder, a CSV file, or one of the sets that ship with edgecnn.

A set is a list of pictures read one at a time, with a label each or none at all, and a hash over all of their bytes.
"""

import contextlib
import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgecnn.data import fashion_mnist
from edgecnn.data.images import SUFFIXES, read_picture
from edgecnn.data.preprocess import Float, Picture, crop, normalise
from edgecnn.errors import InputError, IntegrityError, UsageError, unknown_name
from edgecnn.files import check_regular
from edgecnn.recipe import Preprocess, shipped

FASHION_MNIST_TEST = "fashion-mnist-test"
FASHION_MNIST_1000 = "fashion-mnist-1000"  # of the same pictures


@dataclass(frozen=True)
class Sample:
    """One picture: ``name`` for messages, ``digest`` of its bytes, ``label`` an index or None.

    Args:
        ahead: the picture as one preprocessing crops it, where it is being made before it is asked for.
    """

    name: str
    label: int | None
    digest: str
    read: Callable[[], Picture]
    ahead: tuple[Preprocess, Future[Picture]] | None = None

    def crop(self, how: Preprocess) -> Picture:
        """The picture as a network sees it: (height, width, 3) uint8."""
        if self.ahead is not None and self.ahead[0] == how:
            with contextlib.suppress(CancelledError):  # whoever decoded ahead has ended
                return self.ahead[1].result()
        return crop(self.read(), how, self.name)


@dataclass(frozen=True)
class ImageSet:
    """Pictures under one name.

    Args:
        note: what a user should know of how the set was read, or empty.
        calibrates: pictures of one colour are refused; they say nothing of a network's ranges.
        synthetic: no camera took them; what is measured on them is graded lower.
    """

    name: str
    samples: tuple[Sample, ...]
    note: str = ""
    calibrates: bool = False
    synthetic: bool = False

    @property
    def labelled(self) -> bool:
        return bool(self.samples) and all(sample.label is not None for sample in self.samples)

    @property
    def labels(self) -> np.typing.NDArray[np.int64]:
        """(N,) class indices; only of a labelled set."""
        return np.array([sample.label for sample in self.samples], np.int64)

    @property
    def sha256(self) -> str:
        """Over the digest of every picture, in order."""
        return hashlib.sha256("".join(sample.digest for sample in self.samples).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, keep: Callable[[int], bool]) -> "ImageSet":
        """The samples whose position passes ``keep``."""
        return replace(self, samples=tuple(s for i, s in enumerate(self.samples) if keep(i)))

    def batches(
        self, how: Preprocess, size: int, on_batch: Callable[[int], None] = lambda count: None
    ) -> Iterator[Float]:
        """Preprocessed batches ``(size, 3, height, width)``, the last one shorter.

        Args:
            on_batch: called with the number of images of each batch once it was consumed.

        Raises:
            InputError: a picture that cannot be read, or one of one colour in a set that calibrates.
        """
        for start in range(0, len(self.samples), size):
            batch = self.samples[start : start + size]
            yield np.stack([self._image(sample, how) for sample in batch])
            on_batch(len(batch))

    def check(self, how: Preprocess) -> None:
        """Reads every picture once: what is not used shall not hide what cannot be.

        Raises:
            InputError: as ``batches``.
        """
        for sample in self.samples:
            self._image(sample, how)

    def _image(self, sample: Sample, how: Preprocess) -> Float:
        image = normalise(sample.crop(how), how)
        if self.calibrates and (image == image[:, :1, :1]).all():
            raise InputError(
                f"{sample.name}: shows one colour only, and says nothing of a network's ranges; take it out of"
                " the calibration set"
            )
        return image


def with_note(images: ImageSet, note: str) -> ImageSet:
    """A set with one note more, unless it is empty."""
    return replace(images, note="; ".join(filter(None, (images.note, note))))


def shipped_sets() -> list[str]:
    """Names that ``--calib`` and ``--images`` take besides a path."""
    folders = sorted(path.parent.name for path in shipped("calibration").glob("*/manifest.csv"))
    return [*folders, FASHION_MNIST_TEST]


def load_set(spec: str, classes: Sequence[str], others: Sequence[str] = ()) -> ImageSet:
    """A folder (flat, or a sub-folder per class), a CSV file ``path,label``, or the name of a shipped set.

    Args:
        classes: names by which a label may be given instead of its index.
        others: names that the caller takes besides, for a refusal to name.

    Raises:
        InputError: no such path, no images, or a file or label that cannot be used; nothing is skipped.
        UsageError: neither a path nor the name of a set.
    """
    if not spec:
        raise unknown_name("image folder, CSV file or set", spec, [*shipped_sets(), *others])
    path = Path(spec)
    if spec in shipped_sets() and path.exists():
        raise UsageError(f"{spec} is a set that ships with edgecnn, and it is here: give ./{spec} or rename it")
    if path.is_dir():
        return _not_empty(_from_folder(path, classes), "holds no JPEG or PNG images")
    if path.is_file():
        return _not_empty(_from_csv(path, classes), "lists no images")
    if spec == FASHION_MNIST_TEST:
        return _within(_fashion_mnist_test(), classes)
    if spec in shipped_sets():
        return _within(_from_manifest(shipped("calibration") / spec / "manifest.csv"), classes)
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"{spec}: no such folder or CSV file")
    raise unknown_name("image folder, CSV file or set", spec, [*shipped_sets(), *others])


def _not_empty(images: ImageSet, problem: str) -> ImageSet:
    if not images.samples:
        raise InputError(f"{images.name}: {problem}; give at least one")
    return images


def _sample(path: Path, label: int | None) -> Sample:
    try:
        check_regular(path, "give JPEG or PNG images")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a name that no file can have
        raise InputError(f"{str(path)!r}: no such image") from error
    return Sample(str(path), label, digest, lambda: read_picture(path))


def _pictures(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in files:
        if path.is_dir():
            raise InputError(f"{path}: a folder inside a class's folder; put images directly into one folder per class")
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: only {', '.join(SUFFIXES)} files are read; move other files out of the folder")
    return files


def _from_folder(folder: Path, classes: Sequence[str]) -> ImageSet:
    sub_folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not sub_folders:
        return ImageSet(str(folder), tuple(_sample(path, None) for path in _pictures(folder)))
    if any(not path.is_dir() and not path.name.startswith(".") for path in folder.iterdir()):
        raise InputError(f"{folder}: holds both images and sub-folders; use one sub-folder per class, or none")
    labels, note = _folder_labels([path.name for path in sub_folders], classes)
    pictures = [_pictures(path) for path in sub_folders]
    if [] in pictures:
        empty = sub_folders[pictures.index([])]
        raise InputError(f"{empty}: holds no JPEG or PNG images; put images of its class there, or remove it")
    samples = [_sample(path, label) for paths, label in zip(pictures, labels, strict=True) for path in paths]
    return ImageSet(str(folder), tuple(samples), note)


def _folder_labels(names: list[str], classes: Sequence[str]) -> tuple[list[int | None], str]:
    """Class names or indices; else the sorted order, as ImageNet's folders have it, where the counts match."""
    # No folder can be called T-shirt/top.
    found = [_find_label(name, [label.replace("/", "-") for label in classes]) for name in names]
    if all(label is not None for label in found):
        _check_distinct(names, found)
        return list(found), ""
    stranger = names[found.index(None)]
    if any(label is not None for label in found):
        raise InputError(
            f"sub-folder {stranger!r} is none of the model's {len(classes)} classes, and others are; name all of them"
            " by classes (with - for /) or by indices"
        )
    if len(names) == len(classes):
        return list(range(len(names))), "classes are the sub-folders in sorted order"
    return [None] * len(names), f"no labels: sub-folder {stranger!r} is none of the model's {len(classes)} classes"


def _check_distinct(names: list[str], labels: list[int | None]) -> None:
    """One class under two names would be one in silence."""
    first: dict[int | None, str] = {}
    for name, label in zip(names, labels, strict=True):
        if first.setdefault(label, name) != name:
            raise InputError(f"sub-folders {first[label]!r} and {name!r} are both class {label}; put them into one")


def _find_label(text: str, classes: Sequence[str]) -> int | None:
    if text in classes:
        return classes.index(text)
    # The length first: Python refuses to read endless numbers.
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(classes):
        return int(text)
    return None


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or ())
            # Without a column of that very name labels would be lost in silence, and the gate with them.
            known = columns == ["path"] or {"path", "label"} <= set(columns)
            if not known or len(set(columns)) < len(columns):
                raise InputError(
                    f"{path}: expected a CSV file with the header path,label, or path alone; got {columns}"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error})") from error
    for number, row in rows:
        if not row["path"] or None in row or None in row.values():
            raise InputError(f"{path}: line {number} has {'more' if None in row else 'fewer'} values than its header")
    return [row for _, row in rows]


def _from_csv(path: Path, classes: Sequence[str]) -> ImageSet:
    samples = []
    for row in _rows(path):
        text = (row.get("label") or "").strip()
        label = _find_label(text, classes) if text else None
        if text and label is None:
            raise _strange_label(str(path), text, row["path"], classes)
        samples.append(_sample(path.parent / row["path"], label))
    without = [sample.name for sample in samples if sample.label is None]
    if without and len(without) != len(samples):
        raise InputError(f"{path}: {len(without)} of {len(samples)} images have no label, first {without[0]}")
    return ImageSet(str(path), tuple(samples))


def _strange_label(where: str, label: str, picture: str, classes: Sequence[str]) -> InputError:
    known = f"neither a class name nor an index below {len(classes)}"
    return InputError(f"{where}: label {label!r} of {picture} is {known}")


def _within(images: ImageSet, classes: Sequence[str]) -> ImageSet:
    """A shipped set, whose labels are indices, for a network that has those classes."""
    for sample in images.samples:
        if sample.label is not None and sample.label >= len(classes):
            raise _strange_label(images.name, str(sample.label), Path(sample.name).name, classes)
    return images


def _from_manifest(path: Path) -> ImageSet:
    samples = []
    for row in _rows(path):
        sample = _sample(path.parent / row["path"], int(row["label"]) if row["label"] else None)
        if sample.digest != row["sha256"]:
            raise IntegrityError(f"{sample.name}: sha256 is {sample.digest}, the set's manifest has {row['sha256']}")
        samples.append(sample)
    return ImageSet(path.parent.name, tuple(samples))


def _fashion_mnist_test() -> ImageSet:
    split = fashion_mnist.load("test")
    samples = tuple(
        Sample(f"{FASHION_MNIST_TEST}/{i:05d}", int(label), hashlib.sha256(image.tobytes()).hexdigest(), _grey(image))
        for i, (image, label) in enumerate(zip(split.images, split.labels, strict=True))
    )
    return ImageSet(FASHION_MNIST_TEST, samples)


def _grey(image: Picture) -> Callable[[], Picture]:
    return lambda: np.repeat(image[:, :, None], 3, axis=2)
