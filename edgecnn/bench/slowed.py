"""What holds a board's processor down, where its kernel or its firmware says so.

A Raspberry Pi's firmware lowers clocks that the kernel goes on calling high (raspberrypi/linux, issue 2986), and keeps
bits on why: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled. Any kernel says which step its
cooling devices are at: https://docs.kernel.org/driver-api/thermal/sysfs-api.html.
"""

import re
from pathlib import Path
from typing import NamedTuple

from edgecnn.bench.files import text
from edgecnn.bench.tools import said

FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"  # hexadecimal, without a prefix
BITS = {0: "under-voltage", 1: "a capped clock", 2: "throttling", 3: "a soft limit of temperature"}
SINCE_BOOT = 16  # bits to the left, the same of any time since the board was started
COOLING = re.compile(r"cpufreq|^Processor$")  # cooling devices that are the processor's clock


class Slowed(NamedTuple):
    """Reasons, in words; None where nothing tells.

    Args:
        since_boot: of any time since the board was started, where that is remembered.
    """

    now: frozenset[str] | None
    since_boot: frozenset[str] | None


UNKNOWN = Slowed(None, None)


def slowed(root: Path) -> Slowed:
    """What holds the processor down now, and what did."""
    bits, steps = _firmware(root), _cooling(root)
    if bits is None:
        return Slowed(steps, None)
    now, since_boot = (
        frozenset(word for bit, word in BITS.items() if bits >> shift + bit & 1) for shift in (0, SINCE_BOOT)
    )
    return Slowed(now | (steps or frozenset()), since_boot)


def in_words(reasons: frozenset[str] | None) -> str:
    """For a record: ``nothing`` holds it down, or empty where nobody knows."""
    return "" if reasons is None else ", ".join(sorted(reasons)) or "nothing"


def _firmware(root: Path) -> int | None:
    # Newer kernels leave the file out, and then there is its tool.
    content = text(root, FIRMWARE) or said("vcgencmd", "get_throttled").strip().removeprefix("throttled=0x")
    return int(content, 16) if re.fullmatch(r"[0-9a-fA-F]+\s*", content) else None


def _cooling(root: Path) -> frozenset[str] | None:
    steps = []
    for path in (root / "sys/class/thermal").glob("cooling_device*"):
        here = str(path.relative_to(root))
        kind, step = (text(root, f"{here}/{name}").strip() for name in ("type", "cur_state"))
        if COOLING.search(kind) and step.isdigit():
            steps.append(int(step))
    if not steps:
        return None
    return frozenset({"cooling"} if any(steps) else ())
