"""Exports in a process of their own: one that takes its process with it costs a row, and the others are built."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from edgecnn import pipeline
from edgecnn.artifact import load_artifact
from edgecnn.errors import InputError
from edgecnn.export_process import export_apart, exported
from edgecnn.graph.traced import trace
from edgecnn.network import Network
from edgecnn.request import ExportRequest

# A runtime that crashes cannot be had on purpose; this stands in for one, put where Python looks when it starts.
CRASHES = """
import os, signal
from edgecnn.targets.base import Target
finished = Target.finished
def crashing(self, graph, precision):
    if precision == "fp16":
        os.kill(os.getpid(), signal.SIGSEGV)
    return finished(self, graph, precision)
Target.finished = crashing
"""

WAITS = """
import pathlib, time
from edgecnn.targets.base import Target
def waiting(self, graph, precision):
    pathlib.Path(r"{started}").touch()
    time.sleep(600)
Target.finished = waiting
"""

NETWORK = ("mobilenetv1", "--weights", "random", "--size", "32", "--num-classes", "10")


def requests(folder: Path, weights: str = "random") -> dict[str, ExportRequest]:
    return {
        name: ExportRequest("mobilenetv1", "onnx", precision, weights, size=(32, 32), num_classes=10, out=folder / name)
        for name, precision in (("first", "fp32"), ("second", "fp16"), ("third", "fp32"))
    }


def at_start(folder: Path, code: str) -> str:
    """A value of PYTHONPATH with which new processes run some code first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_one_process_builds_them_all(tmp_path: Path) -> None:
    assert list(export_apart(requests(tmp_path))) == [("first", None), ("second", None), ("third", None)]
    assert load_artifact(tmp_path / "third").manifest["precision"] == "fp32"


def test_a_process_that_crashes_costs_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", at_start(tmp_path / "start", CRASHES))
    found = {name: error and str(error) for name, error in export_apart(requests(tmp_path))}
    crashed = "its own process was killed by signal 11 (Segmentation fault)"
    assert found == {"first": None, "second": crashed, "third": None}
    assert not list((tmp_path / "second").iterdir())


def test_weights_that_cannot_be_loaded_end_them_all(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"none")
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        list(export_apart(requests(tmp_path, str(weights))))


def test_a_row_that_fills_the_memory_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def filled(request: ExportRequest, network: Network) -> pipeline.Exported:
        if request.precision == "fp16":
            raise MemoryError
        return pipeline.export(request, network=network)

    monkeypatch.setattr("edgecnn.export_process.export", filled)
    found = {name: error and str(error) for name, error in exported(requests(tmp_path))}
    assert found == {"first": None, "second": "there is not enough memory", "third": None}


def test_the_network_is_traced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecnn.network.trace", traced := Mock(wraps=trace))
    assert [error for _, error in exported(requests(tmp_path))] == [None, None, None]
    traced.assert_called_once()


def test_an_interrupt_ends_both_processes_and_leaves_nothing(tmp_path: Path) -> None:
    started, keep = tmp_path / "started", tmp_path / "deep" / "kept"
    path = at_start(tmp_path / "start", WAITS.format(started=started))
    line = [sys.executable, "-m", "edgecnn", "benchmark", *NETWORK, "--targets", "onnx", "--keep", str(keep)]
    with subprocess.Popen(
        line, stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | {"PYTHONPATH": path}
    ) as process:
        while not started.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)  # to one of them alone, as `kill` does
        _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, "edgecnn: interrupted; nothing is half-written\n")
    assert not keep.exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
