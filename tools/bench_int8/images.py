"""The images that judge: none of them calibrated anything."""

import functools
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from edgecnn.data.images import read_picture
from edgecnn.data.preprocess import Picture
from edgecnn.data.sets import ImageSet, Sample, load_set
from edgecnn.data.split import spread

CROPS = 100  # of each photograph
SMALLEST_SHARE = 0.7  # of each side of the photograph
SEED = 0
EVERYDAY = ("china.jpg", "flower.jpg", "motorcycle_left.png", "motorcycle_right.png")  # two of scikit-learn's
OTHERS = (
    "cell.png", "clock_motion.png", "coins.png", "microaneurysms.png", "moon.png", "page.png", "text.png"
)  # fmt: skip


def judging_images(name: str, labels: list[str], at_most: int | None) -> ImageSet:
    """A labelled set by name, or ``crops`` of photographs that no shipped calibration set holds."""
    images = unseen_crops() if name == "crops" else load_set(name, labels)
    return images if at_most is None else spread(images, at_most)


def unseen_crops(wide: bool = False) -> ImageSet:
    """100 random crops of each of four photographs that come with scikit-learn and scikit-image.

    Args:
        wide: of seven more pictures too: coins, the moon, a printed page and the like.
    """
    import skimage
    import sklearn

    learn, image = (Path(str(package.__file__)).parent for package in (sklearn, skimage))
    photographs = [
        *(learn / "datasets" / "images" / name for name in EVERYDAY[:2]),
        *(image / "data" / name for name in (*EVERYDAY[2:], *(OTHERS if wide else ()))),
    ]
    random = np.random.default_rng(SEED)
    samples = []
    for path in photographs:
        picture = read_picture(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        for index in range(CROPS):
            share = random.uniform(SMALLEST_SHARE, 1)
            height, width = (round(side * share) for side in picture.shape[:2])
            top = int(random.integers(0, picture.shape[0] - height + 1))
            left = int(random.integers(0, picture.shape[1] - width + 1))
            box = (left, top, left + width, top + height)
            samples.append(Sample(f"{path.name}/{index:02d}", None, digest, functools.partial(_crop, picture, box)))
    return ImageSet(f"crops of {len(photographs)} photographs", tuple(samples))


def _crop(picture: Picture, box: tuple[int, int, int, int]) -> Picture:
    return np.asarray(Image.fromarray(picture).crop(box))
