"""What NVIDIA's own tools say of a machine's GPUs and of a Jetson's power mode, where they are installed."""

import re
from typing import Any

from edgecnn.bench.tools import said

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
CHANGING = ("clock_mhz", "memory_clock_mhz", "temperature_c", "slowed_by")  # while a benchmark runs

# Bits of the clocks' event reasons in NVML, of those that are no choice of whoever set the clocks, nor idleness.
SLOWED_BY = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}


def gpus() -> list[dict[str, Any]]:
    """A row per GPU that ``nvidia-smi`` knows; none without it."""
    rows = [
        {name: _number(cell) for name, cell in zip(FIELDS.values(), row, strict=True)}
        for row in _rows(",".join(FIELDS))
        if len(row) == len(FIELDS)
    ]
    # Asked apart: one name that a driver does not know fails the whole question, and drivers have changed this one.
    masks = _rows("clocks_event_reasons.active") or _rows("clocks_throttle_reasons.active")
    if len(masks) == len(rows):
        for row, (mask, *_) in zip(rows, masks, strict=True):
            row |= _slowed_by(mask)
    return rows


def gpu_watts() -> float | None:
    """What all GPUs together draw now; None where ``nvidia-smi`` does not say."""
    cells = (cell for row in _rows("power.draw") for cell in row)
    watts = [value for value in map(_number, cells) if isinstance(value, float)]
    return sum(watts) if watts else None


def jetson_power_mode() -> str:
    """Such as ``MAXN``; empty where there is no ``nvpmodel``."""
    found = re.search(r"NV Power Mode:\s*(.+)", said("nvpmodel", "-q"))
    return found[1].strip() if found else ""


def _rows(fields: str) -> list[list[str]]:
    found = said("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    return [[cell.strip() for cell in line.split(",")] for line in found.splitlines()]


def _slowed_by(mask: str) -> dict[str, str]:
    """Why the clocks are lower than they might be, ``nothing`` where they are not; empty where it does not say."""
    if not re.fullmatch(r"0x[0-9a-fA-F]+", mask):
        return {}
    return {"slowed_by": ", ".join(word for bit, word in SLOWED_BY.items() if int(mask, 16) & bit) or "nothing"}


def _number(cell: str) -> str | float:
    return float(cell) if re.fullmatch(r"-?\d+(\.\d+)?", cell) else cell
