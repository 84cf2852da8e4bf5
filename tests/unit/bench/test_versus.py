"""The verdict in words, and float precisions that a machine only says it has."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from edgecnn.bench.latency import Race, Run
from edgecnn.bench.versus import Omitted, versus
from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.macs import layer_macs
from edgecnn.quant.lower.qdq import Profile
from edgecnn.targets.base import BF16, FP16, FP32, INT8, UNTUNED, ExecutedLayer, Interface, Session, Target, Tuning
from edgecnn.targets.registry import TARGETS

MACS = {"a/Conv": 9, "b/Conv": 1}
IMAGE = np.zeros((2, 3, 4, 4), np.float32)


class FakeSession(Session):
    """Says that it computes in these precisions, and counts its runs."""

    def __init__(self, *precisions: str) -> None:
        super().__init__(Interface(2, 3, 4, 4, 1))
        self._precisions = precisions

    def executed(self) -> tuple[ExecutedLayer, ...]:
        return tuple(
            ExecutedLayer((name,), "Convolution", precision)
            for name, precision in zip(MACS, self._precisions, strict=True)
        )

    def _run(self, image: Float) -> Float:
        return np.zeros((len(image), 1), np.float32)


class FakeTarget(Target):
    """Computes in bf16 for the most part, whatever it is asked for but FP32; refuses nothing but FP16."""

    name: ClassVar[str] = "fake"
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "fake"
    float_precisions: ClassVar[tuple[str, ...]] = (FP32, BF16, FP16)

    @property
    def profile(self) -> Profile:
        raise NotImplementedError

    def build(self, graph: Graph) -> dict[str, bytes]:
        raise NotImplementedError

    def open(self, files: dict[str, Path], interface: Interface, tuning: Tuning = UNTUNED) -> Session:
        raise NotImplementedError

    def open_float(self, graph: bytes, interface: Interface, precision: str) -> Session:
        if graph == b"refused" and precision == FP16:
            raise BuildError("fake refuses the model: no half precision")
        return FakeSession(FP32, FP32) if precision == FP32 else FakeSession(BF16, FP32)


def racing(**ms: float) -> Callable[..., Race]:
    """A race that took so long, whatever ran."""

    def compete(runs: list[tuple[str, Run]], on_round: Callable[[], object]) -> Race:
        for _, run in runs:
            run()
        on_round()
        noise = np.random.default_rng(0).normal(1, 0.01, (len(runs), 50))
        return Race({name: tuple(ms[name] * noise[index]) for index, (name, _) in enumerate(runs)})

    return compete


def test_a_float_that_is_not_what_it_is_called_is_not_timed() -> None:
    found = versus(INT8, FakeSession(INT8, FP32), FakeTarget(), b"", IMAGE, MACS, racing(int8=1, fp32=2, bf16=1.5))
    assert [row.name for row in found.latencies] == [INT8, FP32, BF16]
    assert found.omitted == (Omitted(FP16, "this machine computes in bf16 when fp16 is asked for"),)
    assert found.batch == 2


def test_a_refusal_is_a_reason() -> None:
    found = versus(
        INT8, FakeSession(INT8, FP32), FakeTarget(), b"refused", IMAGE, MACS, racing(int8=1, fp32=2, bf16=1.5)
    )
    assert found.omitted == (Omitted(FP16, "fake refuses the model: no half precision"),)


def test_int8_is_held_against_the_fastest_float() -> None:
    found = versus(INT8, FakeSession(INT8, FP32), FakeTarget(), b"", IMAGE, MACS, racing(int8=1, fp32=2, bf16=1.5))
    assert found.gain is not None
    assert found.gain.against == BF16
    assert [gain.against for gain in found.gains] == [BF16, FP32]
    assert found.gains[1].ratio == pytest.approx(2, abs=0.05)
    assert found.verdict.startswith("INT8 is 1.50x as fast as BF16 here (95 % [1.")
    assert found.as_json()["gain"]["worth_it"] is True


@pytest.mark.parametrize(("ms", "noise"), [(2.0, True), (2.001, True), (3.0, False)])
def test_int8_that_gains_nothing_is_not_worth_it(ms: float, noise: bool) -> None:
    found = versus(INT8, FakeSession(INT8, FP32), FakeTarget(), b"", IMAGE, MACS, racing(int8=ms, fp32=2, bf16=4))
    assert found.verdict.startswith("INT8 is not worth it here: ")
    assert ("inside the noise" in found.verdict) == noise
    assert found.as_json()["gain"]["worth_it"] is False


def test_a_float_artifact_has_no_verdict() -> None:
    found = versus(FP32, FakeSession(FP32, FP32), FakeTarget(), b"", IMAGE, MACS, racing(fp32=2, bf16=4))
    assert [row.name for row in found.latencies] == [FP32, BF16]
    assert (found.gain, found.gains, found.verdict) == (None, (), "")


@pytest.mark.parametrize("name", TARGETS)
def test_real_rivals_compute_in_what_they_are_called(tiny_graph: Callable[..., Graph], name: str) -> None:
    graph = tiny_graph()
    image = np.random.default_rng(0).normal(0, 1, (1, 3, 32, 32)).astype(np.float32)
    target, interface = TARGETS[name], Interface(1, 3, 32, 32, 10)
    reference = with_batch(graph, None).content
    session = target.open_float(reference, interface, FP32)
    if session.absence:
        pytest.skip(f"built, not executed here: {session.absence}")

    def once(runs: list[tuple[str, Run]], on_round: Callable[[], object]) -> Race:
        for _, run in runs:
            run()
        return Race({rival: (1.0, 1.0) for rival, _ in runs})

    found = versus(INT8, session, target, reference, image, layer_macs(graph), once)
    timed = [row.name for row in found.latencies]
    assert timed[:2] == [INT8, FP32]
    assert sorted([*timed[1:], *(row.name for row in found.omitted)]) == sorted([FP32, BF16, FP16])
    if target.float_precisions == (FP32,):
        assert {row.reason for row in found.omitted} == {f"target {name} computes float layers in fp32 only"}
