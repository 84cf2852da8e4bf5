"""Writes the photographs that EfficientNet-Lite0 is measured on, as PNG.

apt-get install gcompris-qt-data
python -m tools.make_unseen_photographs FOLDER
edgecnn verify efficientnet_lite0-openvino-int8 --images FOLDER
"""

import sys
from pathlib import Path

from PIL import Image

from tools.bench_int8.images import unseen_photographs


def write_photographs(folder: Path) -> None:
    """Into a folder that is not there yet."""
    folder.mkdir(parents=True)
    for sample in unseen_photographs().samples:
        Image.fromarray(sample.read()).save(folder / f"{sample.name}.png", compress_level=1)


if __name__ == "__main__":
    write_photographs(Path(sys.argv[1]))
