"""The images that judge: none of them calibrated anything, and edgecnn has never seen them otherwise.

The photographs are those of GCompris, a set of games for children, from Debian's package ``gcompris-qt-data``: animals,
fish, tools, mills, solar panels, monuments, things of a household and musicians. They are of many cameras, and each
shows one thing, as ImageNet's do.
"""

import functools
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from edgecnn.data.preprocess import Picture
from edgecnn.data.sets import ImageSet, Sample, load_set
from edgecnn.data.split import spread

PHOTOGRAPHS = "photographs of GCompris"
GCOMPRIS = Path("/usr/share/gcompris-qt/rcc")  # where Debian and Ubuntu have its resources
ACTIVITIES = (
    "categorization", "erase", "explore_farm_animals", "explore_monuments", "explore_world_animals",
    "explore_world_music",
)  # fmt: skip
SMALLEST = 200  # pixels of the shorter side; what is smaller are buttons


def judging_images(name: str, labels: list[str], at_most: int | None) -> ImageSet:
    """A labelled set by name, or ``PHOTOGRAPHS``."""
    images = unseen_photographs() if name == PHOTOGRAPHS else load_set(name, labels)
    return images if at_most is None else spread(images, at_most)


def unseen_photographs(resources: Path = GCOMPRIS) -> ImageSet:
    """Every photograph once, by activity.

    Args:
        resources: a folder of ``.rcc`` files.

    Raises:
        FileNotFoundError: GCompris's data is not installed.
    """
    samples: dict[str, Sample] = {}  # by digest: some are in two activities
    for activity in ACTIVITIES:
        for position, picture in enumerate(_pictures((resources / f"{activity}.rcc").read_bytes())):
            image = Image.open(io.BytesIO(picture))
            if image.mode == "RGB" and min(image.size) >= SMALLEST:  # drawings are cut out, and have an alpha
                digest = hashlib.sha256(picture).hexdigest()
                name = f"{activity}-{position:03d}"
                samples.setdefault(digest, Sample(name, None, digest, functools.partial(_decoded, picture)))
    return ImageSet(PHOTOGRAPHS, tuple(samples.values()))


def _pictures(resource: bytes) -> Iterator[bytes]:
    """The WebP files (RFC 9649, section 2.4) in a Qt resource, which holds them one after another as they are."""
    start = resource.find(b"RIFF")
    while start >= 0:
        end = start + 8 + int.from_bytes(resource[start + 4 : start + 8], "little")
        if resource[start + 8 : start + 12] == b"WEBP":
            yield resource[start:end]
        start = resource.find(b"RIFF", start + 1)


def _decoded(picture: bytes) -> Picture:
    return np.asarray(Image.open(io.BytesIO(picture)))
