"""Rebuilds the image sets under ``calibration/`` from Fashion-MNIST and the photographs packaged in scikit-image.

The pictures are in the repository, so nobody has to run this. It is kept because a set whose making cannot be repeated
cannot be checked: the same Pillow and NumPy write the same bytes, and each manifest holds their hashes.

    python tools/make_calibration_sets.py
"""

import csv
import hashlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from edgecnn.data import fashion_mnist

CALIBRATION = Path(__file__).resolve().parents[1] / "calibration"
SEEDS = {"fashion-mnist-512": 512, "fashion-mnist-1000": 1000, "photographs": 64}

# Training watches its progress on the 5,000 images after these; calibration keeps off them as well.
TRAINED_ON = 55_000

# Crops of each picture. Four everyday photographs carry the set; textures, a microscope slide, a fundus and a sky widen
# the ranges. Pictures that are not listed stay unseen, for evaluation.
CROPS = {
    "astronaut": 11,
    "chelsea": 11,
    "coffee": 11,
    "rocket": 11,
    "hubble_deep_field": 4,
    "retina": 4,
    "immunohistochemistry": 3,
    "camera": 3,
    "brick": 2,
    "grass": 2,
    "gravel": 2,
}
SIDE = 256  # pixels, above every default crop of 224, so that the usual resizing still takes place
AREA = (0.25, 1.0)  # share of the picture; training goes down to 0.08, but what is deployed sees more of a scene
ASPECT = (3 / 4, 4 / 3)
JPEG_QUALITY = 92


class Entry(NamedTuple):
    """A picture to be written: ``name`` of its file, ``label`` a class index or None."""

    name: str
    label: int | None
    image: Image.Image


def generator(name: str) -> np.random.Generator:
    """One generator per set, so that a change to one set leaves the others as they are."""
    return np.random.Generator(np.random.PCG64(SEEDS[name]))


def balanced(labels: NDArray[np.uint8], count: int, rng: np.random.Generator) -> list[int]:
    """``count`` positions in ascending order, as many of each class; a remainder goes to the first classes.

    Ascending keeps the classes mixed, as the split has them: the first part of the set is a fair sample as well.
    """
    classes = len(fashion_mnist.CLASSES)
    each, left = divmod(count, classes)
    chosen = [
        rng.choice(np.flatnonzero(labels == label), each + (label < left), replace=False) for label in range(classes)
    ]
    return sorted(np.concatenate(chosen).tolist())


def fashion(split: fashion_mnist.Split, count: int, rng: np.random.Generator) -> Iterator[Entry]:
    """Pictures of a split, named by their position in it."""
    for i in balanced(split.labels, count, rng):
        yield Entry(f"{i:05d}.png", int(split.labels[i]), Image.fromarray(split.images[i]))


def crop_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a crop, drawn anew until it fits.

    The aspect is log-uniform, so that wide crops are drawn as often as tall ones.
    """
    while True:
        area = width * height * rng.uniform(*AREA)
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if w <= width and h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h


def photographs(rng: np.random.Generator) -> Iterator[Entry]:
    """Random resized crops; grey pictures become RGB, because every model here has three channels."""
    for picture, count in sorted(CROPS.items()):
        whole = Image.fromarray(getattr(skimage.data, picture)()).convert("RGB")
        for n in range(count):
            box = crop_box(whole.width, whole.height, rng)
            crop = whole.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box)
            yield Entry(f"{picture}-{n:02d}.jpg", None, crop)


def write(name: str, entries: Iterator[Entry]) -> None:
    """Replaces the pictures and the manifest of a set; its licence, written by hand, stays."""
    folder = CALIBRATION / name
    images = folder / "images"
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    rows: list[tuple[str, int | str, str]] = []
    size = 0
    for file_name, label, image in entries:
        path = images / file_name
        if path.suffix == ".png":
            image.save(path, optimize=True)
        else:
            image.save(path, quality=JPEG_QUALITY)
        content = path.read_bytes()
        size += len(content)
        rows.append((f"images/{file_name}", "" if label is None else label, hashlib.sha256(content).hexdigest()))
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "sha256"))
        writer.writerows(rows)
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    print(f"{name}: {len(rows)} pictures, {size:,} bytes, manifest sha256 {digest}")


def main() -> None:
    """Evaluation pictures come from the test split alone, and calibration pictures never do."""
    train, test = fashion_mnist.load("train"), fashion_mnist.load("test")
    trained_on = fashion_mnist.Split(train.images[:TRAINED_ON], train.labels[:TRAINED_ON])
    write("fashion-mnist-512", fashion(trained_on, 512, generator("fashion-mnist-512")))
    write("fashion-mnist-1000", fashion(test, 1_000, generator("fashion-mnist-1000")))
    write("photographs", photographs(generator("photographs")))


if __name__ == "__main__":
    main()
