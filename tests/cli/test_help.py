"""Help is immediate: nothing heavy is imported before it is needed."""

import json
import os
import resource
import subprocess
import sys

import pytest

from edgecnn import __version__
from edgecnn.cli.app import SPINS
from tests.conftest import Command

HEAVY = ["torch", "onnx", "onnxruntime", "openvino", "onnxscript", "safetensors", "requests", "pooch"]
HEAVY += ["jinja2", "vl_convert"]
LIMIT_S = 0.5

IMPORTED = f"""
import json, sys
from edgecnn.cli import run
code = run(sys.argv[1:])
print(json.dumps([code, [name for name in {HEAVY} if name in sys.modules]]), file=sys.stderr)
"""


def test_help_is_immediate() -> None:
    """In processor time, which other work on the machine leaves alone."""
    before = _children_s()
    done = subprocess.run([sys.executable, "-m", "edgecnn", "--help"], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert _children_s() - before <= LIMIT_S


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["export", "--help"],
        ["verify", "--help"],
        ["inspect", "--help"],
        ["analyze", "--help"],
        ["predict", "--help"],
        ["report", "--help"],
        ["compare", "--help"],
        ["bench", "--help"],
        ["benchmark", "--help"],
        ["--version"],
        ["list", "--json"],
        ["doctor", "--json"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr.splitlines()[-1]) == [0, []]
    assert done.stdout


def test_version(command: Command) -> None:
    assert command("--version").out == f"{__version__}\n"


def test_help_names_every_command(command: Command) -> None:
    answer = command("--help")
    assert (answer.code, answer.err) == (0, "")
    for name in (
        *("list", "export", "verify", "inspect", "analyze", "predict", "bench", "benchmark", "report", "compare"),
        *("train", "doctor"),
    ):
        assert name in answer.out
    assert command() == answer  # as does the bare command


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_pytorch_shares_its_cores_except_where_it_is_timed(command: str) -> None:
    told = f"""
import os, sys
from edgecnn.cli import run
run([{command!r}, "nowhere"])
print(os.environ.get("GOMP_SPINCOUNT"))
"""
    unset = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    for before, after in ((unset, None if command == "bench" else SPINS), (unset | {"GOMP_SPINCOUNT": "7"}, "7")):
        done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, env=before)
        assert done.stdout.strip() == str(after)
