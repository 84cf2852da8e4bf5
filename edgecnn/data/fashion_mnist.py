"""Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747; MIT licence): the set behind the builtin weights.

70,000 grey images of 28×28 in ten classes. Read from Debian's ``dataset-fashion-mnist``, else from the user's cache,
else downloaded there. The pins are hashes of the unpacked files, because Debian packs the same bytes anew.
"""

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.download import cache_folder, download
from edgecnn.errors import IntegrityError

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
OFFICIAL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
SIDE = 28

# sha256 of each unpacked IDX file, and the bytes of its header.
FILES = {
    "train-images": ("train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", 16),
    "train-labels": ("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", 8),
    "test-images": ("t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", 16),
    "test-labels": ("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", 8),
}


class Split(NamedTuple):
    """``images: (N, 28, 28) uint8``, and ``labels: (N,) uint8`` in 0..9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def load(split: str) -> Split:
    """The ``train`` (60,000) or ``test`` (10,000) split.

    Raises:
        IntegrityError: a file's unpacked bytes are not Fashion-MNIST's.
        UnavailableError: not installed, not cached, and the network cannot be reached.
    """
    images = _read(f"{split}-images").reshape(-1, SIDE, SIDE)
    return Split(images, _read(f"{split}-labels"))


def _read(key: str) -> NDArray[np.uint8]:
    name, sha256, header = FILES[key]
    packed = DEBIAN / f"{name}.gz"
    if not packed.exists():
        packed = download(
            f"{OFFICIAL}/{name}.gz",
            None,  # checked below, unpacked
            cache_folder() / "fashion-mnist" / f"{name}.gz",
            otherwise="install Debian's dataset-fashion-mnist",
        )
    try:
        content = gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise IntegrityError(f"{packed}: not a complete gzip file ({error}); {_discarded(packed)}") from error
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise IntegrityError(f"{packed}: unpacked sha256 is {got}, expected {sha256}; {_discarded(packed)}")
    return np.frombuffer(content, np.uint8, offset=header)


def _discarded(packed: Path) -> str:
    """Removes a wrong download, and says what to do next."""
    if packed.parent == DEBIAN:
        return "reinstall dataset-fashion-mnist"
    packed.unlink()
    return "nothing was kept, run again"
