"""Decoding ahead: the same images, sooner; refusals where they belong; and no work left behind."""

import threading
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.data import ahead
from edgecnn.data.ahead import decoded_ahead
from edgecnn.data.preprocess import Picture
from edgecnn.data.sets import ImageSet, Sample, load_set
from edgecnn.errors import InputError
from edgecnn.recipe import Preprocess

HOW = Preprocess(height=8, width=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop=1.0, interpolation="bilinear")


@pytest.fixture
def photographs(tmp_path: Path) -> ImageSet:
    draw = np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(draw.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / f"{index}.png")
    return load_set(str(tmp_path), [])


def counted(images: ImageSet, read: list[str]) -> ImageSet:
    """The set, which notes the name of every picture that is decoded."""

    def counting(sample: Sample) -> Sample:
        def reads() -> Picture:
            read.append(sample.name)
            return sample.read()

        return replace(sample, read=reads)

    return replace(images, samples=tuple(map(counting, images.samples)))


def test_the_images_are_the_same_and_decoded_once(photographs: ImageSet) -> None:
    read: list[str] = []
    want = list(photographs.batches(HOW, 2))
    with decoded_ahead(counted(photographs, read), HOW) as images:
        for _ in range(2):
            for found, wanted in zip(images.batches(HOW, 2), want, strict=True):
                np.testing.assert_array_equal(found, wanted)
        assert images.sha256 == photographs.sha256
    assert sorted(read) == [sample.name for sample in photographs.samples]


def test_threads_leave_the_filters_of_warnings_alone(photographs: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the whole process's, and torch's exporter has its own while pictures are decoded."""
    changed: list[str] = []

    class Noted(warnings.catch_warnings):
        def __enter__(self) -> None:
            changed.append(threading.current_thread().name)
            super().__enter__()

    monkeypatch.setattr(warnings, "catch_warnings", Noted)
    with decoded_ahead(photographs, HOW) as images:
        assert len(list(images.batches(HOW, 2))) == 3
        photographs.samples[0].read()
    assert changed == ["MainThread"]


def test_another_preprocessing_gets_its_own_crop(photographs: ImageSet) -> None:
    other = Preprocess(height=4, width=6, mean=HOW.mean, std=HOW.std, crop=1.0, interpolation="bilinear")
    with decoded_ahead(photographs, HOW) as images:
        np.testing.assert_array_equal(next(images.batches(other, 5)), next(photographs.batches(other, 5)))


def test_what_memory_is_not_set_aside_for_is_read_when_asked_for(
    photographs: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "MOST_BYTES", 2 * 3 * 8 * 8)
    with decoded_ahead(photographs, HOW) as images:
        assert [sample.ahead is not None for sample in images.samples] == [True, True, False, False, False]
        np.testing.assert_array_equal(next(images.batches(HOW, 5)), next(photographs.batches(HOW, 5)))


def test_a_broken_picture_is_refused_where_it_is_asked_for(photographs: ImageSet) -> None:
    broken = Path(photographs.samples[3].name)
    broken.write_bytes(broken.read_bytes()[:60])
    with decoded_ahead(photographs, HOW) as images:
        batches = images.batches(HOW, 3)
        next(batches)
        with pytest.raises(InputError, match=r"3\.png: not a readable JPEG or PNG image"):
            next(batches)


def test_leaving_ends_the_work(photographs: ImageSet) -> None:
    go_on = threading.Event()

    def waits() -> Picture:
        go_on.wait()
        return np.zeros((8, 8, 3), np.uint8)

    waiting = tuple(replace(sample, read=waits) for sample in photographs.samples * 20)
    with decoded_ahead(replace(photographs, samples=waiting), HOW) as images:
        pass
    go_on.set()
    assert images.samples[-1].ahead is not None
    assert images.samples[-1].ahead[1].cancelled()
    assert not images.samples[-1].crop(HOW).any()  # read now
