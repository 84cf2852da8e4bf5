"""Targets that compute on CPUs, of which some x86 ones want weights of a reduced range.

Without VNNI, x86 multiplies unsigned by signed bytes in pairs and adds them in 16 bits, which saturate. ONNX Runtime
and OpenVINO both use that there; what fits is in ``edgecnn/quant/saturation.py``, and exact everywhere.
"""

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.targets.base import Options, Target

if TYPE_CHECKING:
    from edgecnn.quant.lower.qdq import Profile

X86 = ("x86_64", "amd64", "i686", "i386")
WIDE = {"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"}  # add four products in 32 bits
CPUINFO = Path("/proc/cpuinfo")


def saturates(machine: str = "", cpuinfo: Path = CPUINFO) -> bool:
    """Whether INT8 kernels may saturate on this CPU with weights of the whole range. One that does not tell may.

    Args:
        machine: its architecture, else this one's.
        cpuinfo: Linux's description of it.
    """
    if (machine or platform.machine()).lower() not in X86:
        return False
    try:
        lines = cpuinfo.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return True
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not WIDE & set(flags)


@dataclass(frozen=True)
class CpuTarget(Target):
    """A runtime on CPUs.

    Args:
        reduce_range: INT8 weights are for kernels that add products in pairs.
        asked: the user said so, or that they are not.
    """

    reduce_range: bool = False
    asked: bool = False

    def remark(self, precision: str) -> str:
        if not self.reduce_range or self.asked or precision != "int8":
            return ""
        return "INT8 weights are bounded in pairs: this CPU has no VNNI, and its kernels would saturate"

    def configured(self, options: Options) -> Target:
        super().configured(replace(options, reduce_range=None))
        asked = options.reduce_range
        return replace(self, reduce_range=saturates() if asked is None else asked, asked=asked is not None)

    def _ranged(self, profile: "Profile") -> "Profile":
        """A profile of this runtime, for this range of weights."""
        return profile.reduced() if self.reduce_range else profile
