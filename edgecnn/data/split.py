"""Which images calibrate and which ones judge: never the same."""

from dataclasses import replace

from edgecnn.data.sets import FASHION_MNIST_1000, FASHION_MNIST_TEST, ImageSet, with_note
from edgecnn.errors import InputError

MINIMUM = 8
FEW = 64  # below it the logits lose 2 to 6 dB on other images (MobileNetV3-Small); beyond 128 nothing is gained
KEPT_APART = 5  # every fifth image of a calibration set judges instead
FLOAT_CHECK = 8  # images that judge a precision that needs no calibration


def keep_apart(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """A calibration set without every fifth image, and those. Copies of a picture are left out.

    Both say so in their note where the images are few.

    Raises:
        InputError: fewer than eight images.
    """
    images = distinct(images)
    if len(images) < MINIMUM:
        raise InputError(
            f"{images.name}: {len(images)} images, at least {MINIMUM} are needed to calibrate; a few hundred are better"
        )
    last = KEPT_APART - 1
    few = f"{len(images)} images are few to calibrate on and to judge by; a few hundred are better"
    images = with_note(replace(images, calibrates=True), few if len(images) < FEW and not images.synthetic else "")
    return images.take(lambda i: i % KEPT_APART != last), images.take(lambda i: i % KEPT_APART == last)


def distinct(images: ImageSet) -> ImageSet:
    """A set with copies of a picture taken out: each would count as one image more that was answered the same.

    Its note says how many there were. A picture under two labels stays under both.
    """
    once = {(sample.digest, sample.label): sample for sample in reversed(images.samples)}
    copies = len(images) - len(once)
    if not copies:
        return images
    note = f"{copies} of {len(images)} pictures are copies of others, and count once"
    return with_note(replace(images, samples=tuple(reversed(once.values()))), note)


def shares(calibration: ImageSet, judging: ImageSet) -> str:
    """Which images of a judging set calibrate as well, in words; empty where none does."""
    digests = {sample.digest for sample in calibration.samples}
    count = sum(sample.digest in digests for sample in judging.samples)
    if count:
        return f"{count} of {judging.name} calibrate"
    # Digests do not tell: they are of one's arrays, and of the other's files.
    if {calibration.name, judging.name} == {FASHION_MNIST_TEST, FASHION_MNIST_1000}:
        return f"{FASHION_MNIST_TEST} holds all of {FASHION_MNIST_1000}"
    return ""


def spread(images: ImageSet, count: int) -> ImageSet:
    """At most ``count`` images, evenly spread, since sets are often sorted by what they show."""
    count = min(count, len(images))
    chosen = {i * len(images) // count for i in range(count)}
    return images.take(chosen.__contains__)


def hold_block(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """A set without its middle fifth, and that.

    Neighbours are often alike, as crops of one picture or frames of one film: what is held out whole says more of
    pictures that nobody has seen than every fifth image would.
    """
    count = len(images)
    first, size = 2 * count // 5, max(1, count // 5)
    return (
        images.take(lambda i: not first <= i < first + size),
        images.take(lambda i: first <= i < first + size),
    )
