"""The images that judge: none of them calibrated anything, and edgecnn has never seen them otherwise.

The photographs are those of GCompris, a set of games for children, from Debian's package ``gcompris-qt-data``: animals,
fish, tools, mills, solar panels, monuments, things of a household and musicians. They are of many cameras, and each
shows one thing, as ImageNet's do.

There are few of them, and which answers an INT8 network changes is mostly chance: each is looked at in ten views, much
as Krizhevsky et al. (2012, ImageNet Classification with Deep Convolutional Neural Networks) do.
"""

import functools
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
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
VIEWS = 10  # of a photograph: whole and at four corners, and mirrored
WINDOW = 7 / 8  # of both sides, at a corner


def judging_images(name: str, labels: list[str], at_most: int | None) -> ImageSet:
    """A labelled set by name, or ``VIEWS`` of each of ``PHOTOGRAPHS``, one photograph after another."""
    if name == PHOTOGRAPHS:
        photographs = unseen_photographs()
        return views(photographs if at_most is None else spread(photographs, -(-at_most // VIEWS)))
    images = load_set(name, labels)
    return images if at_most is None else spread(images, at_most)


def views(photographs: ImageSet) -> ImageSet:
    """``VIEWS`` of each, one photograph after another."""
    seen = [
        replace(sample, name=f"{sample.name}-{view}", read=functools.partial(_view, sample.read, view))
        for sample in photographs.samples
        for view in range(VIEWS)
    ]
    name = f"{len(photographs)} {photographs.name} in {VIEWS} views each"
    return replace(photographs, name=name, samples=tuple(seen))


def _view(read: Callable[[], Picture], view: int) -> Picture:
    """The whole picture, then those at the corners, row by row; odd ones are mirrored."""
    picture = read()
    if view >= 2:
        (height, width), (low, right) = picture.shape[:2], divmod(view // 2 - 1, 2)
        rows, columns = round(WINDOW * height), round(WINDOW * width)
        top, left = low * (height - rows), right * (width - columns)
        picture = picture[top : top + rows, left : left + columns]
    return np.ascontiguousarray(picture[:, ::-1] if view % 2 else picture)


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
