"""What ran here: CPU, cores and versions."""

import os
import platform
from importlib import metadata
from pathlib import Path

from edgecnn.names import __version__

PACKAGES = ("openvino", "nncf", "onnxruntime", "torch", "onnx", "numpy")
CPUINFO = Path("/proc/cpuinfo")


def machine() -> dict[str, str]:
    """Facts by name; those that cannot be had say so."""
    return {
        "CPU": _cpu_field("model name") or platform.processor() or "unknown",
        "cores": str(os.cpu_count()),
        "VNNI": "yes" if "vnni" in _cpu_field("flags") else "no, or unknown",
        "load": f"{os.getloadavg()[0]:.2f} at the start",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "edgecnn": __version__,
        **{package: _version(package) for package in PACKAGES},
    }


def _cpu_field(name: str) -> str:
    """Of the first core."""
    if not CPUINFO.exists():
        return ""
    lines = (line.partition(":") for line in CPUINFO.read_text("utf-8").splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
