"""Power of a Jetson's rails from sysfs, in watts; no other machine has them. Python 3.8.

INA3221 sensors show volts and amperes per channel through hwmon (JetPack 5 and later) and milliwatts through iio
(JetPack 4); INA238 and other single-channel sensors show microwatts. A channel called NC is not connected, and channel
7 of an INA3221 is the sum of its shunts. Module rails leave out the carrier board. Source: NVIDIA's Jetson Linux
Developer Guide, "Power and Performance", and the kernel's hwmon interface.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path
from typing import Iterator, NamedTuple

WHOLE = ("VIN", "VDD_IN")  # rails that feed all others
SUM_OF_SHUNTS = "7"
PERIOD_S = 0.05


class Rail(NamedTuple):
    """A sensor's channel: its name, and the files whose product, by a factor, is its power in watts."""

    name: str
    files: tuple[Path, ...]
    factor: float

    def watts(self) -> float:
        """Now."""
        product = self.factor
        for path in self.files:
            product *= float(path.read_text())
        return product


def find_rails(sysfs: Path) -> list[Rail]:
    """Every connected rail, by name.

    Args:
        sysfs: ``/sys``, but for tests.
    """
    found: dict[str, Rail] = {}
    for rail in _rails(sysfs):
        if rail.name != "NC" and all(path.exists() for path in rail.files):
            found.setdefault(rail.name, rail)
    return [found[name] for name in sorted(found)]


def _rails(sysfs: Path) -> Iterator[Rail]:
    for label in sorted(sysfs.glob("bus/i2c/devices/*/hwmon/hwmon*/in*_label")):
        channel = _number(label)
        if channel != SUM_OF_SHUNTS:
            files = (label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input"))
            yield Rail(label.read_text().strip(), files, 1e-6)  # millivolts × milliamperes
    for label in sorted(sysfs.glob("bus/i2c/devices/*/hwmon/hwmon*/power*_label")):
        yield Rail(label.read_text().strip(), (label.with_name(f"power{_number(label)}_input"),), 1e-6)  # microwatts
    for label in sorted(sysfs.glob("bus/i2c/devices/*/iio:device*/rail_name_*")):
        channel = label.name.rsplit("_", 1)[1]
        yield Rail(label.read_text().strip(), (label.with_name(f"in_power{channel}_input"),), 1e-3)  # milliwatts


def _number(path: Path) -> str:
    found = re.search(r"\d+", path.name)
    return found.group() if found else ""


def total(watts: dict[str, float]) -> float:
    """Of the rail that feeds all others, else the sum of all."""
    for name in WHOLE:
        if name in watts:
            return watts[name]
    return sum(watts.values())


class Meter:
    """Samples rails while it is open, and has their mean power, the seconds and the energy afterwards."""

    def __init__(self, rails: list[Rail]) -> None:
        self._rails = rails
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._samples: list[dict[str, float]] = []
        self._started = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Meter:
        if self._rails:
            self._thread.start()
        self._started = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.monotonic() - self._started  # before a sensor is waited for that is being read
        self._stop.set()
        if self._rails:
            self._thread.join()

    def _sample(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):  # sensors are busy at times; that sample is left out
                self._samples.append({rail.name: rail.watts() for rail in self._rails})
            self._stop.wait(PERIOD_S)

    @property
    def samples(self) -> int:
        return len(self._samples)

    @property
    def mean(self) -> dict[str, float]:
        """Power of each rail, watts; empty without samples."""
        if not self._samples:
            return {}
        return {
            rail.name: sum(watts[rail.name] for watts in self._samples) / len(self._samples) for rail in self._rails
        }

    @property
    def joules(self) -> float | None:
        """The mean of the total power, over all of the seconds; None without samples."""
        return total(self.mean) * self.seconds if self._samples else None
