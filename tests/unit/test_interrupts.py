"""An interrupt in the middle of an import is raised behind it."""

import subprocess
import sys
from pathlib import Path

import pytest

# What extensions do while they are imported: they run Python code, here as long as an interrupt may need to arrive.
IMPORTED = """
import os, signal, time
for _ in range({times}):
    os.kill(os.getpid(), signal.{number})
    time.sleep(0.1)
finished = True
"""
IMPORTS = """
import sys, time
from edgecnn.interrupts import interrupted, raise_interrupts

raise_interrupts(once={once})
sys.path.insert(0, {folder!r})
try:
    import imported
    time.sleep(60)
except KeyboardInterrupt:
    print("raised", sys.modules["imported"].finished, interrupted())
"""
RAISES = """
import os, signal
from edgecnn.interrupts import raise_interrupts

raise_interrupts(once={once})
for number in (signal.SIGTERM, signal.SIGINT):
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt:
        print("raised")
"""


def printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_an_import_is_finished_first(tmp_path: Path, times: int, once: bool, number: str) -> None:
    (tmp_path / "imported.py").write_text(IMPORTED.format(times=times, number=number))
    assert printed(IMPORTS.format(folder=str(tmp_path), once=once)) == "raised True True\n"


@pytest.mark.parametrize(("once", "raised"), [(False, "raised\nraised\n"), (True, "raised\n")])
def test_clearing_up_may_be_left_alone(once: bool, raised: str) -> None:
    assert printed(RAISES.format(once=once)) == raised


def test_the_exit_code_names_the_first_signal() -> None:
    assert printed(RAISES.format(once=False) + "from edgecnn.interrupts import exit_code; print(exit_code())") == (
        "raised\nraised\n143\n"
    )
