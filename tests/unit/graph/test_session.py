"""Sessions that quantization runs: several threads at once, in memory that the next one has again."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.data.preprocess import Float
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import AT_ONCE, as_many, in_chunks, inference_session, logits, shared_session
from edgecnn.names import INPUT, OUTPUT

TinyGraph = Callable[[str, int], Graph]
MIB = 2**20


@pytest.fixture(scope="module")
def graph(tiny_graph: TinyGraph) -> Graph:
    return with_batch(tiny_graph("mobilenetv3_small", 64), None)


def noise(count: int) -> Float:
    return np.random.default_rng(0).normal(0, 1, (count, 3, 64, 64)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_shared_session_answers_as_one_of_its_own(graph: Graph, count: int) -> None:
    images = noise(count)
    (want,) = inference_session(graph.content).run([OUTPUT], {INPUT: images})
    np.testing.assert_allclose(logits(shared_session(graph.content), images), want, atol=1e-5)


def test_what_shared_sessions_used_is_given_back(graph: Graph, tmp_path: Path) -> None:
    """In a process of its own: a region in which a session of another test still has something would be kept."""
    model = tmp_path / "model.onnx"
    model.write_bytes(graph.content)
    command = [sys.executable, "-c", USED_AND_GIVEN_BACK, str(model)]
    used, left = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert used > 40 * MIB, "this measures nothing"
    assert left < used / 2


USED_AND_GIVEN_BACK = """
import sys
from contextlib import suppress
from pathlib import Path
import numpy as np
from edgecnn.graph.session import logits, memory_given_back, shared_session
from edgecnn.names import INPUT, OUTPUT

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

session, images = shared_session(Path(sys.argv[1]).read_bytes()), np.ones((512, 3, 64, 64), np.float32)
with memory_given_back():
    pass
before = resident()
with suppress(RuntimeError), memory_given_back():
    session.run([OUTPUT], {INPUT: images})
    used = resident() - before
    raise RuntimeError
print(used, resident() - before)
assert np.isfinite(logits(session, images[:2])).all()
"""


@pytest.mark.parametrize(("side", "many"), [(64, 49), (224, 4), (600, 1)])
def test_as_many_images_as_stay_in_the_caches(side: int, many: int) -> None:
    images = np.zeros((5, 3, side, side), np.float32)
    assert as_many(images, AT_ONCE) == many
    assert [len(part) for part in in_chunks(images, min(many, 3))] == ([1] * 5 if many == 1 else [3, 2])


def test_a_shared_session_is_silent_too(graph: Graph, tmp_path: Path) -> None:
    """It imports ONNX Runtime by itself, whose telemetry leaves a file at home."""
    model, home = tmp_path / "model.onnx", tmp_path / "home"
    model.write_bytes(graph.content)
    home.mkdir()
    code = f"from edgecnn.graph.session import shared_session; shared_session(open({str(model)!r}, 'rb').read())"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment | {"HOME": str(home)})
    assert not list(home.iterdir())
