"""A machine for people: words and units, and no key of the record."""

from typing import Any

import pytest

from edgecnn.report.machine import NOMINAL, described


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (
            {"memory_bytes": {"total": 25_276_502_016, "available": 22_993_080_320}},
            ["Memory: 23.5 GiB", "Memory available: 21.4 GiB"],
        ),
        (
            {"clock_mhz": {"before": 2596.1, "after": 2596.1}, "governor": "performance"},
            ["CPU clock: 2,596 MHz before and after", "Governor: performance"],
        ),
        ({"clock_mhz": {"before": 2596.1}}, [f"CPU clock: 2,596 MHz before, {NOMINAL}"]),
        ({"load_average": {"before": 3.93, "after": 3.91}}, ["Load average: 3.93 before, 3.91 after"]),
        ({"temperature_c": {"before": 48.5, "after": 61.0}}, ["Temperature: 48 °C before, 61 °C after"]),
        (
            {"cpu": {"model": "X", "cores": 2, "isa": ["avx2", "amx_int8"]}},
            ["CPU: X", "Cores: 2", "Instruction sets: avx2, amx_int8"],
        ),
        ({"runtimes": {"tensorrt-rtx-cu13": "1.7"}}, ["tensorrt-rtx-cu13: 1.7"]),
        ({"gpu": {"name": "Orin", "architecture": "sm87"}}, ["GPU: Orin", "GPU architecture: sm87"]),
        ({"gpus": [{"name": "A", "memory_mib": 81559.0}]}, ["GPU: A", "GPU memory: 79.6 GiB"]),
        ({"gpus": [{"name": "A"}, {"clock_mhz": 1980.0}]}, ["GPU 1 name: A", "GPU 2 clock: 1,980 MHz"]),
        (
            {"gpus": [{"slowed_by": {"before": "nothing", "after": "power cap"}}]},
            ["GPU slowed by: nothing before, power cap after"],
        ),
        ({"unreadable": ["governor", "clock_mhz"]}, ["Not told by the machine: Governor, CPU clock"]),
        ({"fan_rpm": 900, "battery": True, "lid": None, "dock": {}}, ["Fan rpm: 900", "Battery: yes"]),
    ],
    ids=[
        "memory",
        "clock",
        "nominal clock",
        "load",
        "heat",
        "cpu",
        "runtimes",
        "board",
        "gpu",
        "gpus",
        "slow gpu",
        "unreadable",
        "unknown",
    ],
)
def test_facts_have_names_and_units(machine: dict[str, Any], says: list[str]) -> None:
    assert [f"{name}: {value}" for name, value in described(machine)] == says
