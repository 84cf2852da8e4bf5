"""Writes the crops that README measures EfficientNet-Lite0 on, as PNG: 1,100 of eleven pictures, the first 400 of four.

python -m tools.make_unseen_crops FOLDER
edgecnn verify efficientnet_lite0-openvino-int8 --images FOLDER
"""

import sys
from pathlib import Path

from PIL import Image

from tools.bench_int8.images import unseen_crops


def write_crops(folder: Path) -> None:
    """Into a folder that is not there yet."""
    folder.mkdir(parents=True)
    for position, sample in enumerate(unseen_crops(wide=True).samples):
        Image.fromarray(sample.read()).save(folder / f"{position:04d}.png", compress_level=1)


if __name__ == "__main__":
    write_crops(Path(sys.argv[1]))
