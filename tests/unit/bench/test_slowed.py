"""What holds a processor down: a Raspberry Pi's firmware bits and a kernel's cooling devices, as stand-in files."""

import os
from pathlib import Path

import pytest

from edgecnn.bench.machine import facts, snapshot
from edgecnn.bench.slowed import FIRMWARE, UNKNOWN, Slowed, slowed
from edgecnn.bench.steady import unsteady_machine
from edgecnn.report.machine import described


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def cooling(number: int, kind: str, step: int) -> dict[str, str]:
    folder = f"sys/class/thermal/cooling_device{number}"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/cur_state": f"{step}\n"}


@pytest.mark.parametrize(
    ("bits", "now", "since_boot"),
    [
        ("0", set(), set()),
        ("50005", {"under-voltage", "throttling"}, {"under-voltage", "throttling"}),
        ("80000", set(), {"a soft limit of temperature"}),
        ("A0002", {"a capped clock"}, {"a capped clock", "a soft limit of temperature"}),
    ],
)
def test_a_raspberry_pi_s_bits_are_words(tmp_path: Path, bits: str, now: set[str], since_boot: set[str]) -> None:
    assert slowed(write(tmp_path, {FIRMWARE: f"{bits}\n"})) == Slowed(frozenset(now), frozenset(since_boot))


def test_without_the_file_the_tool_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = write(tmp_path, {"bin/vcgencmd": "#!/bin/sh\n[ $1 = get_throttled ] && echo throttled=0x50005\n"})
    (tool / "bin/vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool / 'bin'}:{os.environ['PATH']}")
    assert slowed(tmp_path / "board").now == frozenset({"under-voltage", "throttling"})


@pytest.mark.parametrize("content", ["", "none of yours\n", "0x5 0x6\n"])
def test_what_is_no_number_tells_nothing(tmp_path: Path, content: str) -> None:
    assert slowed(write(tmp_path, {FIRMWARE: content})) == UNKNOWN


def test_cooling_of_the_clock_counts_and_a_fan_does_not(tmp_path: Path) -> None:
    files = cooling(0, "pwm-fan", 3) | cooling(1, "cpufreq-cpu0", 0)
    assert slowed(write(tmp_path, files)) == Slowed(frozenset(), None)
    assert slowed(write(tmp_path, cooling(2, "thermal-cpufreq-4", 2))) == Slowed(frozenset({"cooling"}), None)


def test_a_fan_alone_tells_nothing(tmp_path: Path) -> None:
    assert slowed(write(tmp_path, cooling(0, "pwm-fan", 3))) == UNKNOWN


def test_a_run_says_what_held_its_board_down(tmp_path: Path) -> None:
    before = snapshot(write(tmp_path, {FIRMWARE: "0\n"} | cooling(0, "cpufreq-cpu0", 0)))
    after = snapshot(write(tmp_path, {FIRMWARE: "50005\n"} | cooling(0, "cpufreq-cpu0", 1)))
    assert unsteady_machine(before, before) == []
    assert unsteady_machine(before, after) == ["CPU: its clock was held down by cooling, throttling, under-voltage"]
    found = facts(before, after, tmp_path)
    assert found["slowed_by"] == {"before": "nothing", "after": "cooling, throttling, under-voltage"}
    assert found["slowed_since_boot_by"] == "throttling, under-voltage"
    words = dict(described(found))
    assert words["CPU clock held down by"] == "nothing before, cooling, throttling, under-voltage after"


def test_what_happened_before_a_run_is_no_reproach_to_it(tmp_path: Path) -> None:
    hot_once = snapshot(write(tmp_path, {FIRMWARE: "80000\n"}))
    assert unsteady_machine(hot_once, hot_once) == []
