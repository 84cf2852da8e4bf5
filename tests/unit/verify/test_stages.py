"""A stage that remembers answers what it would answer without, and asks once."""

import numpy as np
import pytest

from edgecnn.data.preprocess import Float
from edgecnn.verify.stages import Stage, remembering


def test_a_batch_is_asked_once_and_another_anew() -> None:
    asked: list[Float] = []

    def run(images: Float) -> Float:
        asked.append(images)
        return images.reshape(len(images), -1) + 1

    stage = remembering(Stage("eager", run))
    assert stage.name == "eager"
    batch = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    others = (batch[:1], batch[1:], -batch, batch.reshape(1, 3, 2, 4))
    for images in (batch, batch.copy(), *others, *others):
        np.testing.assert_array_equal(stage.run(images), images.reshape(len(images), -1) + 1)
    assert len(asked) == 1 + len(others)


def test_what_is_remembered_cannot_be_changed() -> None:
    stage = remembering(Stage("eager", lambda images: images[:, 0, 0] * 2))
    with pytest.raises(ValueError, match="read-only"):
        stage.run(np.ones((1, 3, 2, 2), np.float32))[0] = 3
