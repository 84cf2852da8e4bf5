"""Joules from counters and rails that are files in a folder."""

import os
import stat
import time
from pathlib import Path

import pytest

from edgecnn.bench.energy import measure_energy, rapl_counters
from edgecnn.bench.gpu import gpus, jetson_power_mode

IMAGES = 10


def zone(root: Path, name: str, label: str, joules: float) -> Path:
    folder = root / "sys/class/powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "max_energy_range_uj").write_text("1000000000\n")
    (folder / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
    return folder / "energy_uj"


def test_rapl_counts_packages_and_nothing_twice(tmp_path: Path) -> None:
    counters = [zone(tmp_path, f"intel-rapl:{index}", f"package-{index}", 100) for index in (0, 1)]
    zone(tmp_path, "intel-rapl:0:0", "core", 70)
    zone(tmp_path, "intel-rapl:2", "psys", 300)

    def work() -> int:
        for counter in counters:
            counter.write_text(f"{110 * 10**6}\n")
        return IMAGES

    found = measure_energy(work, on_gpu=False, root=tmp_path)
    assert (found.source, found.absence) == ("RAPL", "")
    assert found.joules_per_image == pytest.approx(20 / IMAGES)


def test_a_counter_that_starts_again_loses_nothing(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 999)

    def work() -> int:
        counter.write_text(f"{4 * 10**6}\n")
        return IMAGES

    found = measure_energy(work, on_gpu=False, root=tmp_path)
    assert found.joules_per_image == pytest.approx(5 / IMAGES, rel=1e-6)


def test_without_counters_it_says_so(tmp_path: Path) -> None:
    found = measure_energy(lambda: IMAGES, on_gpu=False, root=tmp_path)
    assert (found.joules_per_image, found.source) == (None, "")
    assert found.absence == ("not measurable: there are no RAPL counters (/sys/class/powercap) and no power rails")


def test_counters_for_root_alone_are_said_to_be(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    counter.unlink()
    counter.mkdir()  # which nobody can read as a file, not even root, who runs tests in containers
    assert len(rapl_counters(tmp_path)) == 1
    found = measure_energy(lambda: IMAGES, on_gpu=False, root=tmp_path)
    assert found.absence == "not measurable: RAPL counters cannot be read (Is a directory)"


def test_a_jetson_s_rails_come_first(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1)
    sensor = tmp_path / "sys/bus/i2c/devices/1-0040/hwmon/hwmon3"
    sensor.mkdir(parents=True)
    for name, content in {"in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "1000"}.items():
        (sensor / name).write_text(content)  # 5 W

    def work() -> int:
        time.sleep(0.2)
        return IMAGES

    found = measure_energy(work, on_gpu=False, root=tmp_path)
    assert found.source == "Jetson rails"
    assert found.joules_per_image is not None
    assert found.joules_per_image >= 5 * 0.2 / IMAGES


def stand_in(folder: Path, tool: str, script: str) -> None:
    path = folder / tool
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of stand-ins for NVIDIA's tools, in front of the real ones."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_a_gpu_s_own_meter(tools: Path, tmp_path: Path) -> None:
    stand_in(tools, "nvidia-smi", "echo 50.00")

    def work() -> int:
        time.sleep(0.3)
        return IMAGES

    found = measure_energy(work, on_gpu=True, root=tmp_path)
    assert found.source == "NVML"
    assert found.joules_per_image is not None
    assert found.joules_per_image >= 50 * 0.3 / IMAGES


def test_a_meter_that_answers_late_lengthens_no_work(tools: Path, tmp_path: Path) -> None:
    """Its last answer was once waited for in the time that its power was multiplied by."""
    stand_in(tools, "nvidia-smi", "sleep 0.5; echo 50.00")

    def work() -> int:
        time.sleep(0.1)
        return IMAGES

    found = measure_energy(work, on_gpu=True, root=tmp_path)
    assert found.joules_per_image == pytest.approx(50 * 0.1 / IMAGES, rel=0.5)


def test_a_gpu_that_says_nothing(tools: Path, tmp_path: Path) -> None:
    stand_in(tools, "nvidia-smi", "exit 9")
    assert gpus() == []
    found = measure_energy(lambda: IMAGES, on_gpu=True, root=tmp_path)
    assert found.absence == "not measurable: nvidia-smi says no power draw"


def test_what_nvidia_s_tools_say(tools: Path) -> None:
    stand_in(tools, "nvidia-smi", "echo 'NVIDIA Stand-in, 550.1, 1410, 1593, 300.00, 41, [N/A]'")
    stand_in(tools, "nvpmodel", "echo 'NV Power Mode: MAXN'; echo 0")
    (gpu,) = gpus()
    assert gpu == {
        "name": "NVIDIA Stand-in", "driver": 550.1, "clock_mhz": 1410.0, "memory_clock_mhz": 1593.0,
        "power_limit_w": 300.0, "temperature_c": 41.0, "memory_mib": "[N/A]",
    }  # fmt: skip
    assert jetson_power_mode() == "MAXN"


@pytest.mark.parametrize("spelling", ["clocks_event_reasons.active", "clocks_throttle_reasons.active"])
@pytest.mark.parametrize(
    ("mask", "said"),
    [("0x0000000000000000", "nothing"), ("0x0000000000000001", "nothing"), ("0x24", "power cap, heat (software)")],
)
def test_why_a_gpu_s_clocks_are_down_whatever_the_driver_calls_it(
    tools: Path, spelling: str, mask: str, said: str
) -> None:
    facts = "NVIDIA Stand-in, 550.1, 1410, 1593, 300.00, 41, 24576"
    stand_in(
        tools,
        "nvidia-smi",
        f"case $1 in *={spelling}) echo {mask};; *reasons*) exit 2;; *) echo '{facts}';; esac",
    )
    (gpu,) = gpus()
    assert gpu["slowed_by"] == said
