"""What `pip install 'edgecnn[onnxruntime]'` brings is enough to verify, to time, and to report for a pull request."""

import os
import subprocess
from pathlib import Path

from tests.remote.board import ROOT, Board


def test_without_torch_everything_of_a_device_works(board: Board, ort_artifact: Path, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    run = str(tmp_path / "run.json")
    for arguments, said in (
        (("verify", str(ort_artifact)), "golden pairs"),
        (("bench", str(ort_artifact), "--duration", "0.2", "--out", run), "small"),
        (("report", run, "--markdown"), "| small"),
    ):
        line = [str(board.python), "-m", "edgecnn", *arguments]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert said in done.stdout
