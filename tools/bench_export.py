"""How long an export takes as a whole process, imports counted, and how much memory it takes at its peak.

MobileNetV3-Large at 224×224 for OpenVINO: FP32, and INT8 of every effort calibrated on 300 photographs. Goals on two
cores, which not every machine reaches (docs/benchmarks/export.md has what was measured): 8 s and 1.2 GB for FP32, 20 s
for INT8, and 60 calibration images per second.

Each export is a network's first on a machine, with an empty cache, and one that finds it traced.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from edgecnn.data.sets import load_set
from edgecnn.names import EFFORTS

RUNS = 5
IMAGES = 300


def photographs(folder: Path) -> None:
    """300 JPEG crops of the shipped photographs, 320 pixels a side."""
    random = np.random.Generator(np.random.PCG64(1))
    pictures = [Image.fromarray(sample.read()) for sample in load_set("photographs", []).samples]
    for index in range(IMAGES):
        picture = pictures[index % len(pictures)]
        side = int(random.integers(picture.width // 2, picture.width + 1))
        left, top = (int(random.integers(0, picture.width - side + 1)) for _ in range(2))
        crop = picture.crop((left, top, left + side, top + side)).resize((320, 320))
        crop.save(folder / f"{index:03d}.jpg", quality=92)


def measure(arguments: list[str], cache: str | None = None) -> tuple[float, dict[str, float]]:
    """Seconds of one whole process, and of each of its stages.

    Args:
        cache: that an export before it has filled, else an empty one.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "edgecnn", "export", "mobilenetv3_large", "--weights", "random"]
        started = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own command line
            [*command, "--target", "openvino", "--json", "--out", f"{folder}/out", *arguments],
            check=True,
            capture_output=True,
            env=os.environ | {"XDG_CACHE_HOME": cache or f"{folder}/cache"},
        )
        elapsed = time.monotonic() - started
    return elapsed, {stage["name"]: stage["elapsed_s"] for stage in json.loads(done.stdout)["stages"]}


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {RUNS} runs each")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        photographs(Path(folder))
        efforts = [(f"int8 {effort}", ["--int8", "--calib", folder, "--effort", effort]) for effort in EFFORTS]
        measure([], cache)  # which traces it
        for name, arguments in [("fp32", []), *efforts]:
            turns = [(measure(arguments), measure(arguments, cache)) for _ in range(RUNS)]
            runs = [run for turn in turns for run in turn]
            for which, place in (("first", 0), ("traced", 1)):
                seconds = [turn[place][0] for turn in turns]
                spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
                print(f"{name}, {which}: median {statistics.median(seconds):.1f} s, {spread}")
            # A fifth of the images is kept apart.
            rates = [IMAGES * 4 / 5 / stages["calibrate"] for _, stages in runs if "calibrate" in stages]
            if rates and "equalize" not in runs[0][1]:  # which observes all images a second time
                print(f"  calibration: median {statistics.median(rates):.0f} images/s, decoding counted")
            # Of all finished children the largest: FP32 is measured first, because INT8 takes more.
            print(f"  peak {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
