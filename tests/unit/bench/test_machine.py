"""The machine in the record, read from trees of files that stand in for ``/proc`` and ``/sys``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.bench.machine import Snapshot, facts, one_line, snapshot, versions
from edgecnn.bench.slowed import Slowed
from edgecnn.bench.steady import unsteady_machine, unsteady_times

XEON = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Stand-in
cpu MHz\t\t: 2100.000
flags\t\t: fpu avx2 avx512f avx512_vnni amx_tile amx_int8 amx_bf16
processor\t: 1
model name\t: Intel(R) Xeon(R) Stand-in
cpu MHz\t\t: 2300.000
flags\t\t: fpu avx2 avx512f avx512_vnni amx_tile amx_int8 amx_bf16
"""
ORIN = """\
processor\t: 0
Features\t: fp asimd asimdhp asimddp
"""


def slow(*reasons: str) -> Slowed:
    return Slowed(frozenset(reasons), frozenset(reasons))


CALM = Snapshot(2000.0, 0.5, 40.0, 0, 100.0, 50.0, 0.0, 10.0, slowed=Slowed(frozenset(), frozenset()))


def write(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def xeon(tmp_path: Path) -> Path:
    cpus = "sys/devices/system/cpu"
    write(
        tmp_path,
        **{
            "proc/cpuinfo": XEON,
            "proc/loadavg": "1.50 1.00 0.50 1/100 1234\n",
            "proc/stat": "cpu  100 20 30 400 50 6 7 8 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n",
            "proc/meminfo": "MemTotal:       1000 kB\nMemFree: 5 kB\nMemAvailable:    600 kB\n",
            "proc/self/cgroup": "0::/kubepods/pod1\n",
            "etc/os-release": 'NAME="Some"\nPRETTY_NAME="Some Linux 1"\n',
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
            "sys/class/thermal/thermal_zone0/temp": "45000\n",
            "sys/class/thermal/thermal_zone1/temp": "61000\n",
            f"{cpus}/cpu0/cpufreq/scaling_cur_freq": "2000000\n",
            f"{cpus}/cpu1/cpufreq/scaling_cur_freq": "3000000\n",
            f"{cpus}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{cpus}/cpu1/cpufreq/scaling_governor": "powersave\n",
            f"{cpus}/cpu0/thermal_throttle/core_throttle_count": "3\n",
            f"{cpus}/cpu0/thermal_throttle/package_throttle_count": "4\n",
        },
    )
    return tmp_path


def test_a_snapshot_reads_what_changes(xeon: Path) -> None:
    found = snapshot(xeon)
    assert (found.clock_mhz, found.load_average, found.temperature_c, found.throttles) == (2500.0, 1.5, 61.0, 7)
    ticks = found.total_s / (100 + 20 + 30 + 400 + 50 + 6 + 7 + 8)
    assert found.busy_s == pytest.approx(ticks * (100 + 20 + 30 + 6 + 7))
    assert found.stolen_s == pytest.approx(ticks * 8)
    assert found.process_s > 0


def test_without_a_frequency_driver_the_clock_is_cpuinfo_s(tmp_path: Path) -> None:
    write(tmp_path, **{"proc/cpuinfo": XEON})
    assert snapshot(tmp_path).clock_mhz == 2200.0


def test_facts_of_a_server(xeon: Path) -> None:
    found = facts(CALM, replace(CALM, clock_mhz=2100.0, throttles=2), xeon)
    assert found["cpu"]["model"] == "Intel(R) Xeon(R) Stand-in"
    assert found["cpu"]["cores"] == 2
    assert found["cpu"]["isa"] == ["avx2", "avx512f", "avx512_vnni", "amx_tile", "amx_int8", "amx_bf16"]
    assert found["governor"] == "powersave"
    assert found["clock_mhz"] == {"before": 2000.0, "after": 2100.0}
    assert found["temperature_c"] == {"before": 40.0, "after": 40.0}
    assert found["throttled"] == 2
    assert "unreadable" not in found
    assert found["memory_bytes"] == {"total": 1_024_000, "available": 614_400}
    assert (found["container"], found["cpu_limit"], found["os"]) == ("kubernetes", 1.5, "Some Linux 1")
    assert "numpy" in found["runtimes"]


def test_a_gpu_s_clocks_are_those_before_and_after() -> None:
    cool = {"name": "Stand-in", "clock_mhz": 1980.0, "temperature_c": 41.0, "slowed_by": "nothing"}
    hot = cool | {"clock_mhz": 1410.0, "temperature_c": 88.0, "slowed_by": "heat (software)"}
    (found,) = facts(replace(CALM, gpus=(cool,)), replace(CALM, gpus=(hot,)))["gpus"]
    assert found["name"] == "Stand-in"
    assert found["clock_mhz"] == {"before": 1980.0, "after": 1410.0}
    assert found["slowed_by"] == {"before": "nothing", "after": "heat (software)"}


def test_facts_of_an_arm_board(tmp_path: Path) -> None:
    write(tmp_path, **{"proc/cpuinfo": ORIN, "proc/device-tree/model": "Stand-in Orin\0"})
    found = facts(snapshot(tmp_path), snapshot(tmp_path), tmp_path)
    assert found["cpu"]["isa"] == ["asimd", "asimddp", "asimdhp"]
    assert found["board"] == "Stand-in Orin"


def test_versions_are_of_what_is_installed_in_the_order_that_was_asked_for() -> None:
    found = versions(("pytest", "no-such-package", "numpy"))
    assert list(found.items()) == [("pytest", pytest.__version__), ("numpy", np.__version__)]


def test_what_a_machine_does_not_say_is_left_out(tmp_path: Path) -> None:
    empty = snapshot(tmp_path)
    assert (empty.clock_mhz, empty.load_average, empty.temperature_c, empty.throttles) == (None,) * 4
    found = facts(empty, empty, tmp_path)
    assert {"governor", "clock_mhz", "temperature_c", "throttled", "os", "cpu_limit", "board"}.isdisjoint(found)
    assert found["unreadable"] == ["governor", "clock_mhz", "temperature_c", "throttled"]
    assert "a CPU that does not say its name" in one_line(found)
    assert "governor unknown" in one_line(found)


def test_a_clock_that_stayed_is_said_once() -> None:
    line = one_line({"clock_mhz": {"before": 2596.1, "after": 2596.1}, "load_average": {"before": 1.5, "after": 2.0}})
    assert "MHz 2596.1; load 1.5 to 2" in line


def test_no_name_of_a_host_or_a_user_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-who-runs-this")
    write(tmp_path, **{"etc/hostname": "the-host-of-this", "proc/sys/kernel/hostname": "the-host-of-this"})
    found = str(facts(snapshot(tmp_path), snapshot(tmp_path), tmp_path))
    assert "somebody-who-runs-this" not in found
    assert "the-host-of-this" not in found


# steadiness


def test_level_times_are_steady() -> None:
    assert unsteady_times([1.0, 1.01, 0.99] * 20, settled=True) == []


@pytest.mark.parametrize(
    ("ms", "settled", "reason"),
    [
        ([1.0, 1.3] * 20, True, "spread: the middle half of the calls is 26% of the median wide"),
        ([1.0] * 20 + [1.12] * 20, True, "drift: the second half of the run took +12%"),
        ([1.0] * 40, False, "never became level while warming up"),
    ],
)
def test_unsteady_times_are_said_to_be(ms: list[float], settled: bool, reason: str) -> None:
    assert unsteady_times(ms, settled) == [reason]


def test_turns_are_called_turns() -> None:
    (reason,) = unsteady_times([1.0, 1.3] * 20, settled=True, rounds="turns")
    assert reason == "spread: the middle half of the turns is 26% of the median wide"


def test_a_single_late_call_is_no_spread() -> None:
    assert unsteady_times([1.0] * 99 + [80.0], settled=True) == []


def test_our_own_work_is_not_held_against_us() -> None:
    assert unsteady_machine(CALM, replace(CALM, total_s=120.0, busy_s=69.5, process_s=29.0)) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"total_s": 120.0, "busy_s": 66.0, "process_s": 20.0}, "load: other processes used 30% of the processor time"),
        ({"total_s": 120.0, "stolen_s": 5.0}, "load: other guests of the host took 25% of the processor time"),
        ({"clock_mhz": 1500.0}, "clock: went from 2000 to 1500 MHz"),
        ({"throttles": 3}, "heat: the processor was throttled 3 times"),
        ({"slowed": slow("throttling", "under-voltage")}, "CPU: its clock was held down by throttling, under-voltage"),
        ({"slowed": Slowed(frozenset(), frozenset({"throttling"}))}, "CPU: its clock was held down by throttling"),
        ({"gpus": ({"slowed_by": "power cap"},)}, "GPU: its clocks were held down by power cap"),
    ],
)
def test_what_the_machine_did_is_named(change: dict[str, Any], reason: str) -> None:
    assert unsteady_machine(CALM, replace(CALM, **change)) == [reason]
