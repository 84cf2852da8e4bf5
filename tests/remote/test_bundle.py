"""A TensorRT artifact's bundle on a board: as far as its scripts go without a GPU, and with stand-ins beyond that."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import load_artifact
from edgecnn.verify.device import _bundle_sha256
from tests.conftest import Answer
from tests.faults.conftest import one_line
from tests.remote.board import Board
from tests.remote.bundles import answering
from tests.remote.bundles import artifact as artifact
from tests.remote.bundles import stand_in as stand_in
from tests.unit.verify.test_device import result as result

There = Callable[..., Answer]


def test_without_tensorrt_the_board_says_so(board: Board, there: There, bundle_artifact: Path) -> None:
    answer = there("verify", bundle_artifact)
    assert (answer.code, answer.out) == (4, "")
    assert one_line(answer.err).startswith("edgecnn: board: build.py: tensorrt is not installed; ")
    assert board.left() == []


@pytest.mark.usefixtures("stand_in")
def test_without_a_gpu_the_board_says_so(board: Board, there: There, bundle_artifact: Path) -> None:
    answer = there("verify", bundle_artifact)
    assert (answer.code, answer.out) == (4, "")
    assert one_line(answer.err).startswith("edgecnn: board: build.py: an engine is built on its own GPU: ")
    assert board.left() == []


def test_a_bundle_takes_no_images(there: There, bundle_artifact: Path) -> None:
    answer = there("verify", bundle_artifact, "--images", "photographs")
    assert (answer.code, answer.out) == (2, "")
    assert "a bundle brings its own images and gate" in one_line(answer.err)


def test_what_a_board_measured_is_judged_here(
    board: Board, there: There, bundle_artifact: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    assert result["bundle"]["sha256"] == _bundle_sha256(load_artifact(bundle_artifact))
    folder = answering(bundle_artifact, tmp_path / "good", result, 0)
    answer = there("verify", folder, "--json")
    assert (answer.code, answer.err) == (0, "")
    document = json.loads(answer.out)
    assert (document["verdict"], document["host"], document["device"]) == ("pass", "board", result)
    assert "0.500 ms p50" in there("verify", folder).out
    assert board.left() == []


def test_a_board_that_rejects_its_engine_is_heard(
    board: Board, there: There, bundle_artifact: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    result["parity"] |= {"kl": 3.0, "reasons": ["KL divergence"]}
    folder = answering(bundle_artifact, tmp_path / "bad", result, 6)
    answer = there("verify", folder)
    assert answer.code == 6
    assert one_line(answer.err).startswith(f"edgecnn: {folder} is rejected on board: KL divergence 3.0000")
    assert board.left() == []
