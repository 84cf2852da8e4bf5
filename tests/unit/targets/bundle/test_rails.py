"""A Jetson's power rails, read from trees of files in the shape of its sysfs."""

import time
from pathlib import Path

import pytest

from edgecnn.targets.bundle.rails import Meter, find_rails, total


def write(folder: Path, **values: object) -> Path:
    folder.mkdir(parents=True)
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")
    return folder


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """An Orin NX: one INA3221, with a channel that is not connected and the sum of shunts."""
    rails = {"in1_label": "VDD_IN", "in1_input": 19000, "curr1_input": 400}
    rails |= {"in2_label": "VDD_CPU_GPU_CV", "in2_input": 19000, "curr2_input": 100}
    rails |= {"in3_label": "NC", "in3_input": 5, "curr3_input": 5}
    rails |= {"in7_label": "sum of shunt voltages", "in7_input": 1, "curr7_input": 1}
    write(tmp_path / "bus/i2c/devices/1-0040/hwmon/hwmon3", **rails)
    return tmp_path


def test_volts_times_amperes_of_each_connected_channel(orin: Path) -> None:
    found = {rail.name: rail.watts() for rail in find_rails(orin)}
    assert found == {"VDD_CPU_GPU_CV": pytest.approx(1.9), "VDD_IN": pytest.approx(7.6)}
    assert total(found) == pytest.approx(7.6)  # the input feeds the others


def test_without_a_common_input_rails_add_up(tmp_path: Path) -> None:
    for index, name in enumerate(("VDD_GPU_SOC", "VDD_CPU_CV")):
        write(
            tmp_path / f"bus/i2c/devices/1-004{index}/hwmon/hwmon{index}",
            in1_label=name,
            in1_input=5000,
            curr1_input=1000,
        )
    assert total({rail.name: rail.watts() for rail in find_rails(tmp_path)}) == pytest.approx(10.0)


def test_microwatts_of_thors_carrier_board(tmp_path: Path) -> None:
    write(tmp_path / "bus/i2c/devices/2-0044/hwmon/hwmon1", power1_label="VIN", power1_input=31_500_000)
    (rail,) = find_rails(tmp_path)
    assert rail.name == "VIN"
    assert rail.watts() == pytest.approx(31.5)


def test_milliwatts_of_jetpack_4(tmp_path: Path) -> None:
    write(tmp_path / "bus/i2c/devices/7-0040/iio:device0", rail_name_0="VDD_IN", in_power0_input=5200)
    (rail,) = find_rails(tmp_path)
    assert rail.name == "VDD_IN"
    assert rail.watts() == pytest.approx(5.2)


def test_a_channel_without_its_current_is_left_out(orin: Path) -> None:
    next(orin.rglob("curr2_input")).unlink()
    assert [rail.name for rail in find_rails(orin)] == ["VDD_IN"]


def test_other_machines_have_no_rails(tmp_path: Path) -> None:
    assert find_rails(tmp_path) == []
    with Meter([]) as meter:
        pass
    assert (meter.samples, meter.mean, meter.joules) == (0, {}, None)


def test_energy_is_power_over_time_and_busy_sensors_are_passed_over(orin: Path) -> None:
    rails = find_rails(orin)
    started = time.monotonic()
    with Meter(rails) as meter:
        time.sleep(0.3)
        busy = next(orin.rglob("curr1_input"))
        content = busy.read_text()
        busy.unlink()
        time.sleep(0.2)
        busy.write_text(content)
        time.sleep(0.3)
    elapsed = time.monotonic() - started
    assert meter.samples >= 4
    assert meter.mean["VDD_IN"] == pytest.approx(7.6)
    assert meter.joules is not None
    assert 7.6 * 0.8 <= meter.joules <= 7.6 * elapsed * 1.01


def test_work_that_is_shorter_than_a_period_takes_energy_too(orin: Path) -> None:
    """Once it was none: the integral from the first sample to the last, which was the first."""
    with Meter(find_rails(orin)) as meter:
        while not meter.samples:
            time.sleep(0.001)
    assert meter.joules == pytest.approx(7.6 * meter.seconds)
    assert meter.seconds > 0
