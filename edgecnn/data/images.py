"""Safe decoding of JPEG and PNG files: every reader of foreign pictures goes through here."""

import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from edgecnn.data.preprocess import Picture
from edgecnn.errors import InputError
from edgecnn.files import check_regular

SUFFIXES = (".jpg", ".jpeg", ".png")
FORMATS = ("JPEG", "PNG")  # the only decoders that a file may reach, whatever its name
# What brings a picture upright, by EXIF's orientation (CIPA DC-008, section 4.6.5); 1 is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MAX_PIXELS = 64_000_000  # 8000×8000; checked from the header, before any pixel is decoded


def read_picture(path: Path) -> Picture:
    """Decodes a file to ``(H, W, 3) uint8 RGB``, upright.

    Grey is repeated, palettes and CMYK are converted, transparency is dropped, 16 bits become 8.

    Raises:
        InputError: missing, empty, truncated, not JPEG or PNG, or of more than 64 million pixels.
    """
    try:
        check_regular(path, "give a JPEG or PNG image")
        with pillow_unheard(), Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(_too_large(path, f"{image.width}×{image.height} pixels"))
            if getattr(image, "is_animated", False) and image.format == "PNG":
                raise InputError(f"{path}: is animated; give its frames as images of their own")
            image.load()
            return np.array(_rgb(_upright(image)))
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(path, str(error))) from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"{path}: not a readable JPEG or PNG image ({_reason(path, error)})") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says. Pillow's own way writes all tags anew besides, and some cannot be."""
    turn = TURNS.get(image.getexif().get(Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


class _Unheard:
    """Who is inside ``pillow_unheard``: the first changes the filters of warnings, the last changes them back."""

    lock = threading.Lock()
    count = 0
    filters = warnings.catch_warnings()


@contextmanager
def pillow_unheard() -> Iterator[None]:
    """Pillow's warnings of odd metadata and large pictures are for nobody: what matters is refused here.

    Filters of warnings belong to the whole process. Whoever has pictures decoded on threads holds this around all of
    them, so that they leave the filters of others alone, and torch's exporter its own.
    """
    with _Unheard.lock:
        if _Unheard.count == 0:
            _Unheard.filters = warnings.catch_warnings()
            _Unheard.filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _Unheard.count += 1
    try:
        yield
    finally:
        with _Unheard.lock:
            _Unheard.count -= 1
            if _Unheard.count == 0:
                _Unheard.filters.__exit__(None, None, None)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion would clip
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray((wide >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _too_large(path: Path, got: str) -> str:
    return f"{path}: too large, {got}; at most {MAX_PIXELS:,} pixels are accepted, scale it down first"


def _reason(path: Path, error: Exception) -> str:
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
    except OSError:
        pass
    return "unknown format" if "cannot identify" in str(error) else str(error).splitlines()[0]
