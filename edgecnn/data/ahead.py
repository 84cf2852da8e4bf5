"""Pictures that are decoded before they are asked for, while one core is busy with something else.

Decoders let go of Python's lock, and torch's exporter keeps one core busy for seconds. Calibration also reads some of
its pictures more than once; what was decoded ahead is kept for that.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from edgecnn.data.images import pillow_unheard
from edgecnn.data.preprocess import Picture, crop
from edgecnn.data.sets import ImageSet, Sample
from edgecnn.recipe import Preprocess
from edgecnn.threads import available_cores

MOST_BYTES = 64 * 2**20  # of pictures that are kept: 445 of 224×224


@contextmanager
def decoded_ahead(images: ImageSet, how: Preprocess) -> Iterator[ImageSet]:
    """The same set, whose pictures are being decoded and cropped from now on, as many as memory is set aside for.

    A picture that cannot be read is refused where it is asked for, as ever. Leaving ends the work.
    """
    count = MOST_BYTES // (3 * how.height * how.width)
    threads = ThreadPoolExecutor(available_cores())

    def begun(sample: Sample) -> Sample:
        picture: Future[Picture] = threads.submit(lambda: crop(sample.read(), how, sample.name))
        return replace(sample, ahead=(how, picture))

    with pillow_unheard():
        try:
            yield replace(images, samples=(*map(begun, images.samples[:count]), *images.samples[count:]))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
