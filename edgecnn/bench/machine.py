"""The machine that times were taken on: what it is, and what it does now. No name of a host or a user.

Everything is read from files below a root, so that tests have a machine of their own; see the kernel's documentation of
``/proc``, ``/sys/devices/system/cpu`` and ``/sys/class/thermal``.
"""

import os
import platform
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from edgecnn.bench.files import numbers, text, words
from edgecnn.bench.gpu import CHANGING, gpus, jetson_power_mode
from edgecnn.bench.slowed import UNKNOWN, Slowed, in_words, slowed
from edgecnn.threads import available_cores

ROOT = Path("/")

# Instructions that decide how fast INT8, BF16 and FP16 are, as /proc/cpuinfo spells them on x86 and on Arm.
ISA = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
RUNTIMES = ("openvino", "onnxruntime", "torch", "tensorrt", "tensorrt-rtx-cu13", "numpy")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Snapshot:
    """What changes while a benchmark runs; None where the machine does not say.

    Args:
        clock_mhz: mean over cores.
        temperature_c: of the hottest zone.
        throttles: events since it was started.
        gpus: as ``gpu.gpus`` has them.
        slowed: what holds the processor down, where something tells.
        total_s, busy_s, stolen_s: processor time of all cores since it was started.
        process_s: of it, this process's own.
    """

    clock_mhz: float | None
    load_average: float | None
    temperature_c: float | None
    throttles: int | None
    total_s: float
    busy_s: float
    stolen_s: float
    process_s: float
    gpus: tuple[dict[str, Any], ...] = ()
    slowed: Slowed = UNKNOWN


def snapshot(root: Path = ROOT) -> Snapshot:
    """A look at the machine now."""
    clocks = numbers(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    if not clocks:  # what x86 kernels without a frequency driver know
        clocks = [1000 * float(mhz) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text(root, "proc/cpuinfo"), re.M)]
    zones = numbers(root, "sys/class/thermal/thermal_zone*/temp")
    throttles = numbers(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
    load = text(root, "proc/loadavg").split()
    # user, nice, system, idle, iowait, irq, softirq, steal
    cpu = re.match(r"cpu +((?:\d+ ?){8})", text(root, "proc/stat"))
    ticks = [TICK_S * int(value) for value in cpu[1].split()] if cpu else [0.0] * 8
    return Snapshot(
        clock_mhz=round(sum(clocks) / len(clocks) / 1000, 1) if clocks else None,
        load_average=float(load[0]) if load else None,
        temperature_c=max(zones) / 1000 if zones else None,
        throttles=int(sum(throttles)) if throttles else None,
        total_s=sum(ticks),
        busy_s=sum(ticks[:3]) + sum(ticks[5:7]),
        stolen_s=ticks[7],
        process_s=time.process_time(),
        gpus=tuple(gpus()),
        slowed=slowed(root),
    )


def facts(before: Snapshot, after: Snapshot, root: Path = ROOT) -> dict[str, Any]:
    """The machine for the record: tables of plain values, without what it does not say.

    What a reader would look for and the machine does not say is listed by name under ``unreadable``.
    """
    watched = {
        "governor": ", ".join(sorted(words(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))),
        "clock_mhz": {"before": before.clock_mhz, "after": after.clock_mhz},
        "temperature_c": {"before": before.temperature_c, "after": after.temperature_c},
        "throttled": throttled(before, after),
    }
    found = _without_gaps(watched)
    return _without_gaps(
        {
            "cpu": _cpu(root),
            **found,
            "unreadable": [name for name in watched if name not in found],
            "slowed_by": {"before": in_words(before.slowed.now), "after": in_words(after.slowed.now)},
            "slowed_since_boot_by": in_words(after.slowed.since_boot),
            "load_average": {"before": before.load_average, "after": after.load_average},
            "memory_bytes": _memory(root),
            "gpus": [_gpu(*pair) for pair in zip(before.gpus, after.gpus, strict=False)],
            "power_mode": jetson_power_mode(),
            "board": text(root, "proc/device-tree/model").strip("\0\n"),
            "container": _container(root),
            "cpu_limit": _cpu_limit(root),
            "os": _os(root),
            "kernel": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "runtimes": versions(RUNTIMES),
        }
    )


def throttled(before: Snapshot, after: Snapshot) -> int | None:
    """How often the processor was throttled between two looks; None where it does not count."""
    if before.throttles is None or after.throttles is None:
        return None
    return after.throttles - before.throttles


def processors(root: Path = ROOT) -> str:
    """The CPU and the GPUs in words."""
    cpu = _cpu(root)
    name = cpu["model"] or "a CPU that does not say its name"
    return ", ".join([name, f"{cpu['usable_cores']} cores", *cpu["isa"], *(str(gpu["name"]) for gpu in gpus())])


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of those that are installed, in the same order."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def one_line(machine: dict[str, Any]) -> str:
    """A machine in a line, for people; any of its facts may be missing."""
    cpu = machine.get("cpu", {})
    parts = [
        f"{cpu.get('model', 'a CPU that does not say its name')}, {cpu.get('cores', '?')} cores",
        " ".join(cpu.get("isa", [])),
        f"governor {machine['governor']}" if "governor" in machine else "governor unknown",
        _change("MHz", machine.get("clock_mhz")),
        _change("load", machine.get("load_average")),
        _change("°C", machine.get("temperature_c")),
        f"power mode {machine['power_mode']}" if "power_mode" in machine else "",
        *(gpu["name"] for gpu in machine.get("gpus", [])),
        (machine.get("gpu") or {}).get("name", ""),  # of a bundle's device, which has one
        machine.get("container", ""),
        machine.get("kernel", ""),
    ]
    return "; ".join(part for part in parts if part)


def _change(unit: str, pair: dict[str, float] | None) -> str:
    if not pair:
        return ""
    return f"{unit} {' to '.join(dict.fromkeys(f'{value:g}' for value in pair.values()))}"


def _gpu(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What stays as it is, and before and after what does not."""
    pairs = {name: {"before": before[name], "after": after[name]} for name in CHANGING if name in before}
    return after | pairs


def _cpu(root: Path) -> dict[str, Any]:
    content = text(root, "proc/cpuinfo")
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", content, re.M)
    model = re.search(r"^(?:model name|Hardware|Model)\s*:\s*(.*)$", content, re.M)
    owned = set(flags[1].split()) if flags else set()
    return {
        "model": model[1].strip() if model else "",
        "architecture": platform.machine(),
        "cores": len(re.findall(r"^processor\s*:", content, re.M)) or os.cpu_count(),
        "usable_cores": available_cores(),
        "isa": [name for name in ISA if name in owned],
    }


def _memory(root: Path) -> dict[str, int]:
    rows = dict(re.findall(r"^(\w+):\s+(\d+) kB", text(root, "proc/meminfo"), re.M))
    names = {"total": "MemTotal", "available": "MemAvailable"}
    return {name: 1024 * int(rows[key]) for name, key in names.items() if key in rows}


def _container(root: Path) -> str:
    """A word for what the process is boxed in, as far as it shows."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    return "kubernetes" if "kubepods" in text(root, "proc/self/cgroup") else ""


def _cpu_limit(root: Path) -> float | None:
    """Cores that control groups leave this process, where they limit it (version 2, then version 1)."""
    quota, _, period = text(root, "sys/fs/cgroup/cpu.max").partition(" ")
    if not period:
        quota = text(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us")
        period = text(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if not quota.strip().isdigit() or not period.strip().isdigit():
        return None  # "max", or -1
    return round(int(quota) / int(period), 2)


def _os(root: Path) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', text(root, "etc/os-release"), re.M)
    return found[1] if found else ""


def _without_gaps(table: dict[str, Any]) -> dict[str, Any]:
    found = {key: _without_gaps(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in found.items() if value not in (None, "", {}, [])}
