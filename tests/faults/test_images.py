"""Pictures and image sets that cannot be used: one line that names the file, and nothing is ever skipped."""

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from edgecnn.data.images import pillow_unheard, read_picture
from edgecnn.errors import InputError
from tests.conftest import Command
from tests.faults.conftest import EXPORT, Refused, powerless


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48 * 40 * 3, dtype=np.uint8).reshape(40, 48, 3)).save(buffer, kind)
    return buffer.getvalue()


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "zero bytes": (lambda good: b"", "not a readable JPEG or PNG image (the file is empty)"),
    "truncated": (lambda good: good[: len(good) // 2], "not a readable JPEG or PNG image ("),
    "header only": (lambda good: good[:20], "not a readable JPEG or PNG image ("),
    "truncated PNG": (lambda good: encoded("PNG")[:-40], "not a readable JPEG or PNG image ("),
    "text": (lambda good: b"no picture at all", "not a readable JPEG or PNG image (unknown format)"),
    "FITS": (lambda good: b"SIMPLE  =                    T".ljust(2880), "JPEG or PNG image (unknown format)"),
    "EPS": (lambda good: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "JPEG or PNG image (unknown format)"),
    "PDF": (lambda good: b"%PDF-1.7\n", "not a readable JPEG or PNG image (unknown format)"),
    "GIF": (lambda good: encoded("GIF"), "not a readable JPEG or PNG image (unknown format)"),
    "TIFF": (lambda good: encoded("TIFF"), "not a readable JPEG or PNG image (unknown format)"),
    "20000²": (lambda good: png_header(20_000, 20_000), "too large, "),
    "10000²": (lambda good: png_header(10_000, 10_000), "too large, "),
    "8001²": (lambda good: png_header(8_001, 8_001), "too large, 8001×8001 pixels; at most 64,000,000 pixels"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_F16_one_broken_image_among_ten_stops_verify(refused: Refused, artifact: Path, images: Path, kind: str) -> None:
    spoil, text = BROKEN[kind]
    broken = images / "3.jpg"
    broken.write_bytes(spoil(broken.read_bytes()))
    line = refused(3, "verify", artifact, "--images", images)
    assert f"{broken}: " in line
    assert text in line


@pytest.mark.parametrize("kind", ["truncated", "20000²", "FITS"])
def test_F16_a_broken_image_stops_predict(refused: Refused, artifact: Path, images: Path, kind: str) -> None:
    spoil, text = BROKEN[kind]
    broken = images / "3.jpg"
    broken.write_bytes(spoil(broken.read_bytes()))
    assert text in refused(3, "predict", artifact, images / "0.jpg", broken)


def test_F16_a_broken_image_stops_calibration(refused: Refused, images: Path, tmp_path: Path) -> None:
    (images / "3.jpg").write_bytes((images / "3.jpg").read_bytes()[:400])
    out = tmp_path / "out"
    line = refused(3, *EXPORT, "--target", "onnx", "--int8", "--calib", images, "--out", out)
    assert f"{images / '3.jpg'}: not a readable JPEG or PNG image (" in line
    assert not out.exists()


def test_F16_a_broken_image_that_nothing_would_read_is_not_skipped(
    refused: Refused, images: Path, tmp_path: Path
) -> None:
    """Every fifth image is kept apart to judge, which the recipe's labelled set does where there is one."""
    (images / "4.jpg").write_bytes((images / "4.jpg").read_bytes()[:400])
    arguments = ("--size", "32", "--target", "onnx", "--int8", "--calib", images, "--out", tmp_path / "out")
    line = refused(3, "export", "mobilenetv3_small", *arguments)
    assert f"{images / '4.jpg'}: not a readable JPEG or PNG image (" in line


def test_F16_odd_metadata_is_no_defect_of_a_picture(tmp_path: Path) -> None:
    """A description that is a fraction: Pillow reads it, and cannot write it. The orientation beside it counts."""
    entries = struct.pack("<HHIIHHII", 0x0112, 3, 1, 6, 0x010E, 5, 1, 38) + struct.pack("<I", 0)
    tiff = b"II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<II", 1, 0)
    exif = b"Exif\0\0" + tiff
    jpeg = encoded("JPEG")
    path = tmp_path / "odd.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    (tmp_path / "plain.jpg").write_bytes(jpeg)
    plain = read_picture(tmp_path / "plain.jpg")
    assert np.array_equal(read_picture(path), np.rot90(plain, -1))
    path.write_bytes(path.read_bytes().replace(tiff, tiff[:-20].ljust(len(tiff), b"\xff")))
    with contextlib.suppress(InputError):  # damaged, it is refused by name or read
        read_picture(path)


def test_pillow_is_unheard_until_the_last_has_left() -> None:
    """A thread may still decode when what began it has ended, and another picture been begun meanwhile."""
    before = list(warnings.filters)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(pillow_unheard())
        inside = list(warnings.filters)
        assert inside != before
        second.enter_context(pillow_unheard())
        first.close()
        assert list(warnings.filters) == inside
    assert list(warnings.filters) == before


@pytest.mark.parametrize("turn", range(2, 9))
def test_pictures_come_upright_as_pillow_turns_them(tmp_path: Path, turn: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    path = tmp_path / "turned.png"
    with Image.open(io.BytesIO(encoded("PNG"))) as image:
        image.save(path, exif=exif)
    with Image.open(path) as image:
        want = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_picture(path), want)


def test_F16_frames_of_an_animation_are_not_dropped(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    with pytest.raises(InputError, match=r"a\.png: is animated; give its frames as images of their own"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["JPEG", "PNG"])
def test_F16_random_damage_is_refused_or_decoded(tmp_path: Path, suffix: str) -> None:
    good = encoded(suffix)
    random = np.random.default_rng(16)
    file = tmp_path / "picture"
    for _ in range(200):
        spoilt = bytearray(good)
        for position in random.integers(0, len(good), 2):
            spoilt[position] ^= 1 << int(random.integers(8))
        file.write_bytes(spoilt[: None if random.integers(2) else random.integers(len(good))])
        try:
            picture = read_picture(file)
        except InputError as error:
            assert str(error).startswith(f"{file}: ")  # noqa: PT017 - anything else it raises fails the test
        else:
            assert picture.ndim == 3
            assert picture.dtype == np.uint8


@pytest.mark.parametrize("side", [10_000, 20_000, 60_000])
def test_F17_a_bomb_takes_no_memory(tmp_path: Path, side: int) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_header(side, side))
    code = (
        "import sys; from pathlib import Path; from edgecnn.data.images import pillow_unheard, read_picture\n"
        "from edgecnn.errors import InputError\n"
        "import resource; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_picture(Path(sys.argv[1]))\n"
        "except InputError as error: print('refused', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, bomb], capture_output=True, text=True, check=True)
    word, grown_kib = done.stdout.split()
    assert word == "refused"
    assert int(grown_kib) < 20_000


def test_F17_a_strip_takes_no_memory(
    refused: Refused, artifact: Path, images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A few kilobytes of file, few pixels, and gigabytes once it is resized to cover the input."""
    monkeypatch.setattr(Image.Image, "resize", None)  # never reached
    strip, out = images / "3.png", tmp_path / "out"
    for size in ((1, 5_000_000), (200_000, 1)):
        Image.new("L", size, 200).save(strip)
        message = f"{strip}: {size[0]}×{size[1]} pixels are too long and thin, resized to "
        assert message in refused(3, "predict", artifact, strip)
    monkeypatch.undo()
    assert message in refused(3, "verify", artifact, "--images", images)
    assert message in refused(3, *EXPORT, "--target", "onnx", "--int8", "--calib", images, "--out", out)


def test_F19_an_empty_folder_is_refused(refused: Refused, artifact: Path, tmp_path: Path) -> None:
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    line = refused(3, *EXPORT, "--target", "onnx", "--int8", "--calib", empty, "--out", out)
    assert f"{empty}: holds no JPEG or PNG images; give at least one" in line
    assert not out.exists()


def test_F19_too_few_images_are_refused(refused: Refused, images: Path, tmp_path: Path) -> None:
    for index in range(3):
        (images / f"{index}.jpg").unlink()
    line = refused(3, *EXPORT, "--target", "onnx", "--int8", "--calib", images, "--out", tmp_path / "out")
    assert "7 images, at least 8 are needed to calibrate" in line


def test_F19_few_images_are_said_to_be_few(command: Command, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = command(*EXPORT, "--target", "onnx", "--int8", "--effort", "fast", "--calib", images, "--out", out)
    assert answer.code == 0
    few = "10 images are few to calibrate on and to judge by; a few hundred are better"
    assert f"note: {few}; " in answer.out
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["calibration"]["note"] == few
    assert manifest["evidence"]["note"].startswith(f"{few}; the portable graph reaches INT8 kernels")


def test_F19_a_missing_folder_is_refused(refused: Refused, artifact: Path, tmp_path: Path) -> None:
    assert "no such folder or CSV file" in refused(3, "verify", artifact, "--images", tmp_path / "none")


@pytest.mark.parametrize("name", ["notes.txt", "photo.webp", "archive.zip"])
def test_nothing_in_a_folder_is_skipped(refused: Refused, artifact: Path, images: Path, name: str) -> None:
    (images / name).write_bytes(b"something")
    line = refused(3, "verify", artifact, "--images", images)
    assert f"{images / name}: only .jpg, .jpeg, .png files are read; move other files out" in line


def test_a_dangling_link_is_not_skipped(refused: Refused, artifact: Path, images: Path) -> None:
    (images / "5a.jpg").symlink_to("gone.jpg")
    assert "5a.jpg: cannot be read (No such file or directory)" in refused(3, "verify", artifact, "--images", images)


def test_a_pipe_does_not_hang(refused: Refused, artifact: Path, images: Path) -> None:
    os.mkfifo(images / "5a.jpg")
    assert "5a.jpg: is no file" in refused(3, "verify", artifact, "--images", images)
    assert "5a.jpg: is no file" in refused(3, "predict", artifact, images / "5a.jpg")


def test_folders_inside_class_folders_are_not_skipped(refused: Refused, artifact: Path, images: Path) -> None:
    deep = images.parent / "deep"
    (deep / "0").mkdir(parents=True)
    images.rename(deep / "0" / "more")
    assert "a folder inside a class's folder" in refused(3, "verify", artifact, "--images", deep)


def test_an_unreadable_image_is_refused(open_folder: Path, photos: Path) -> None:
    picture = open_folder / "secret.jpg"
    picture.write_bytes((photos / "0.jpg").read_bytes())
    picture.chmod(0)
    with powerless(), pytest.raises(InputError, match=r"secret\.jpg: .*Permission denied"):
        read_picture(picture)


def test_a_missing_image_is_refused(refused: Refused, artifact: Path, images: Path) -> None:
    assert f"{images / 'none.jpg'}: no such image" in refused(3, "predict", artifact, images / "none.jpg")
    assert f"{images}: is no file" in refused(3, "predict", artifact, images)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a CSV file with the header path,label"),
        ("file,class\n0.jpg,1\n", "expected a CSV file with the header path,label"),
        ("path,label\n", "lists no images"),
        ("path,label\n0.jpg,10\n", "label '10' of 0.jpg is neither a class name nor an index below 10"),
        ("path,label\n0.jpg,-1\n", "label '-1' of 0.jpg is neither a class name nor an index below 10"),
        ("path,label\n0.jpg,cat\n", "label 'cat' of 0.jpg is neither a class name nor an index below 10"),
        (f"path,label\n0.jpg,{'9' * 5000}\n", "is neither a class name nor an index below 10"),
        ("path,label\n0.jpg,1\n1.jpg,\n", "1 of 2 images have no label, first"),
        ("path,label\nnone.jpg,1\n", "none.jpg: cannot be read (No such file or directory)"),
        ("path,label\n0.jpg,1,2\n", "line 2 has more values than its header"),
        ("label,path\n1\n", "line 2 has fewer values than its header"),
        ("path,label\n.,1\n", ": is no file; give JPEG or PNG images"),
        ("path,label\n/dev/zero,1\n", "/dev/zero: is no file; give JPEG or PNG images"),
        ("path,label\na\0b.jpg,1\n", "no such image"),
        ('path,label\n"0.jpg,1\n', "not a readable CSV file ("),
        ("\udcff\udcfe", "not a readable CSV file ("),
    ],
)
def test_a_bad_list_of_images_is_refused(
    refused: Refused, artifact: Path, images: Path, text: str, message: str
) -> None:
    listing = images / "list.csv"
    listing.write_bytes(text.encode(errors="surrogateescape"))
    assert message in refused(3, "verify", artifact, "--images", listing)
