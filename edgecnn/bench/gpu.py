"""What NVIDIA's own tools say of a machine's GPUs and of a Jetson's power mode, where they are installed."""

import re
import shutil
import subprocess
from typing import Any

LIMIT_S = 10
# Names that `nvidia-smi --help-query-gpu` documents, and the record's own.
FIELDS = {
    "name": "name",
    "driver_version": "driver",
    "clocks.sm": "clock_mhz",
    "clocks.mem": "memory_clock_mhz",
    "power.limit": "power_limit_w",
    "temperature.gpu": "temperature_c",
    "memory.total": "memory_mib",
}


def gpus() -> list[dict[str, Any]]:
    """A row per GPU that ``nvidia-smi`` knows; none without it."""
    found = _said("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")
    rows = [[cell.strip() for cell in line.split(",")] for line in found.splitlines()]
    return [
        {name: _number(cell) for name, cell in zip(FIELDS.values(), row, strict=True)}
        for row in rows
        if len(row) == len(FIELDS)
    ]


def gpu_watts() -> float | None:
    """What all GPUs together draw now; None where ``nvidia-smi`` does not say."""
    cells = _said("nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits").split()
    watts = [value for value in map(_number, cells) if isinstance(value, float)]
    return sum(watts) if watts else None


def jetson_power_mode() -> str:
    """Such as ``MAXN``; empty where there is no ``nvpmodel``."""
    found = re.search(r"NV Power Mode:\s*(.+)", _said("nvpmodel", "-q"))
    return found[1].strip() if found else ""


def _number(cell: str) -> str | float:
    return float(cell) if re.fullmatch(r"-?\d+(\.\d+)?", cell) else cell


def _said(tool: str, *arguments: str) -> str:
    """What a tool prints; nothing where it is missing, fails or hangs."""
    path = shutil.which(tool)
    if path is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603  # a fixed tool with fixed arguments
            [path, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
