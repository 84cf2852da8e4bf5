"""Golden pairs: preprocessed inputs with the eager model's logits, which travel with an artifact.

They let a device check an artifact with numpy and its runtime alone. The inputs are of the images that judged the
export: real ones, unless synthetic images were all that there was, and then the manifest says so.
"""

import io
from typing import NamedTuple

import numpy as np

from edgecnn.artifact import Artifact
from edgecnn.data.preprocess import Float
from edgecnn.data.sets import ImageSet
from edgecnn.data.split import spread
from edgecnn.errors import IntegrityError
from edgecnn.recipe import Preprocess
from edgecnn.verify.stages import Stage

PAIRS = 16
LARGEST_BYTES = 5 * 2**20  # of inputs; large inputs get fewer pairs, but at least two
FEWEST = 2


class Golden(NamedTuple):
    """``inputs: (n, C, H, W) float32, normalised`` and ``logits: (n, K) float32``."""

    inputs: Float
    logits: Float


def golden_pairs(images: ImageSet, how: Preprocess, eager: Stage) -> bytes:
    """An ``.npz`` of pairs; the same images and model give the same bytes."""
    count = max(FEWEST, min(PAIRS, LARGEST_BYTES // (12 * how.height * how.width)))
    inputs = np.concatenate(list(spread(images, count).batches(how, count)))
    buffer = io.BytesIO()
    np.savez(buffer, inputs=inputs, logits=eager.run(inputs))
    return buffer.getvalue()


def read_golden(artifact: Artifact) -> Golden:
    """The pairs of an artifact.

    Raises:
        IntegrityError: there are none, or the file holds something else.
    """
    path = artifact.files.get("golden.npz")
    if path is None:
        raise IntegrityError(f"{artifact.folder}: has no golden pairs; export again")
    try:
        with np.load(path, allow_pickle=False) as file:
            return Golden(file["inputs"], file["logits"])
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(f"{path}: cannot be read ({error}); export again") from error
