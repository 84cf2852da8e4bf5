"""The ladder: every rung leaves its evidence, and none stays that does not help."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecnn.data.sets import load_set
from edgecnn.graph.graph import Graph
from edgecnn.names import EFFORTS
from edgecnn.progress import Progress
from edgecnn.quant.alone import EVERY
from edgecnn.quant.calibrate import Range
from edgecnn.quant.ladder import Climbed, climb
from edgecnn.quant.lower.profiles import OPENVINO, PORTABLE, TENSORRT
from edgecnn.quant.lower.qdq import Profile
from edgecnn.quant.pixels import on_pixel_grid
from edgecnn.quant.placement import needing_zero, place
from edgecnn.quant.ranges import Chosen
from edgecnn.quant.rungs import BETTER_DB, DOUBT_DB, WORTH_DB, Candidate, Judge, Rung, Slowdown, most_changes
from edgecnn.quant.table import QuantizerTable
from edgecnn.recipe import Preprocess
from tests.rescaling import rescaled

TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]
SLOWER = Slowdown(1.01, (1.0, 1.02))
HOW = Preprocess(32, 32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def timer(graph: Graph, tables: Sequence[QuantizerTable]) -> list[Slowdown]:
    """A device of which every network takes the same time, but for a hundredth."""
    return [SLOWER for _ in tables[1:]]


@pytest.fixture(scope="module")
def climbed(tiny_graph: TinyGraph, photos: Path) -> Callable[[str, Profile], Climbed]:
    made: dict[tuple[str, str], Climbed] = {}

    def get(effort: str = "balanced", profile: Profile = OPENVINO) -> Climbed:
        if (effort, profile.name) not in made:
            made[effort, profile.name] = climb(
                tiny_graph(), load_set(str(photos), []), HOW, effort, profile, Progress(), timer
            )
        return made[effort, profile.name]

    return get


def names(found: Climbed) -> list[str]:
    return [rung.name for rung in found.rungs]


def test_each_effort_climbs_its_rungs(climbed: Callable[..., Climbed]) -> None:
    fast, balanced, best = (names(climbed(effort)) for effort in EFFORTS)
    assert fast == ["min-max", "range search", "rounding and bias"]
    assert balanced == [*fast, "equalization", "float layers"]
    assert best == [*balanced, "mixed precision"]


def test_mixed_precision_leaves_more_layers_in_float_and_says_what_they_take(climbed: Callable[..., Climbed]) -> None:
    *others, mixed = climbed("best").rungs
    small = next(rung for rung in others if rung.name == "float layers")
    assert set(small.float_layers) < set(mixed.float_layers)
    assert small.slowdown == mixed.slowdown == SLOWER
    assert mixed.timed_json()["slowdown"] == {"ratio": 1.01, "ratio_ci95": [1.0, 1.02]}
    assert not any(rung.slowdown for rung in others if rung is not small)


def test_the_ladder_ends_where_the_largest_drop_is_ruled_out(tiny_graph: TinyGraph, photos: Path) -> None:
    images = load_set(str(photos), [])
    for max_drop_pp, rungs in ((100, 1), (50, 3)):  # two images rule out no half
        found = climb(tiny_graph(), images, HOW, "fast", OPENVINO, Progress(), None, max_drop_pp)
        assert len(found.rungs) == rungs


@pytest.mark.parametrize(
    ("n", "max_drop_pp", "changes"),
    [(298, 1.0, -1), (299, 1.0, 0), (473, 1.0, 1), (256, 0.5, -1), (10, 100.0, 9), (10, 0.0, -1)],
)
def test_a_drop_is_ruled_out_by_so_many_images(n: int, max_drop_pp: float, changes: int) -> None:
    """299 and 473 are what tables of sample sizes give for 0 and 1 failures at 95 %."""
    assert most_changes(n, max_drop_pp) == changes


@pytest.mark.parametrize("uneven", [False, True])
def test_equalization_is_worked_out_where_it_is_clearly_better_alone(
    tiny_graph: TinyGraph, photos: Path, uneven: bool
) -> None:
    """Rescaled channels are what it is for; even ones are turned down by some images, without refinement."""
    graph = tiny_graph("mobilenetv2")
    if uneven:
        graph = rescaled(graph, 0)
    found = climb(graph, load_set(str(photos), []), HOW, "balanced", OPENVINO, Progress(), timer)
    rung = next(rung for rung in found.rungs if rung.name == "equalization")
    assert rung.refined == rung.kept == uneven


def test_labels_give_rungs_an_accuracy(tiny_graph: TinyGraph, photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.iterdir())
    rows = "".join(f"{path},{position % 10}\n" for position, path in enumerate(paths))
    (tmp_path / "labelled.csv").write_text(f"path,label\n{rows}")
    images = load_set(str(tmp_path / "labelled.csv"), [str(index) for index in range(10)])
    (labelled,) = climb(tiny_graph(), images, HOW, "fast", OPENVINO, Progress(), None, 100).rungs
    (plain,) = climb(tiny_graph(), load_set(str(photos), []), HOW, "fast", OPENVINO, Progress(), None, 100).rungs
    assert labelled.top1 in (0, 0.5, 1)
    assert labelled.top1_reference in (0, 0.5, 1)
    assert plain.top1 is plain.top1_reference is None
    assert (labelled.sqnr_db, labelled.kl) == (plain.sqnr_db, plain.kl)


GAINS_DB = {
    "range search": DOUBT_DB, "rounding and bias": DOUBT_DB, "equalization": BETTER_DB, "float layers": WORTH_DB,
    "mixed precision": WORTH_DB,
}  # fmt: skip


def test_a_rung_is_kept_for_its_noise(climbed: Callable[..., Climbed]) -> None:
    before: Rung | None = None
    for rung in climbed("best").rungs:
        if before is None:
            assert rung.kept
        elif rung.name != "equalization" or rung.refined:  # tried on its own, it is held against the same without it
            assert rung.kept == (rung.sqnr_db >= before.sqnr_db + GAINS_DB[rung.name])
        before = rung if rung.kept else before
        assert rung.n == 2  # a fifth of ten pictures
        assert 0 <= rung.agreement <= 1
        assert rung.elapsed_s > 0


def judging(graph: Graph, table: QuantizerTable) -> tuple[Judge, Candidate]:
    """A judge of four images of noise, and a candidate."""
    images = np.random.default_rng(1).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    ranges = dict.fromkeys(table.activations, Chosen("min-max", Range(0, 1)))
    return Judge(graph, images, None, OPENVINO), Candidate(graph, ranges, table)


@pytest.mark.parametrize(
    ("gain_db", "kept"), [(DOUBT_DB, [True, True, False]), (BETTER_DB, [True, False, False]), (WORTH_DB, [True, False])]
)
def test_few_images_have_to_be_sure_before_they_turn_down_what_helps_elsewhere(
    tiny_graph: TinyGraph, tiny_table: TinyTable, gain_db: float, kept: list[bool]
) -> None:
    judge, int8 = judging(tiny_graph(), tiny_table())
    table = int8.table
    last = {layer.bias: table.biases[layer.bias] for layer in table.layers if layer.node.startswith("classifier.3")}

    def moved(by: float) -> Candidate:
        """Logits that are off by so much, which is far more than INT8 makes them."""
        return replace(int8, table=replace(table, biases=table.biases | {k: v + by for k, v in last.items()}))

    judge.consider("before", moved(100.0))
    for by in (130.0, 200.0)[: len(kept) - 1]:  # 2.3 and 3.7 dB more
        judge.consider("after", moved(by), gain_db)
    assert [rung.kept for rung in judge.rungs] == kept


def test_what_is_tried_alone_is_worth_more_work_where_it_halves_the_noise(
    tiny_graph: TinyGraph, tiny_table: TinyTable
) -> None:
    judge, int8 = judging(tiny_graph(), tiny_table())
    biases = int8.table.biases
    last = next(layer.bias for layer in int8.table.layers if layer.node.startswith("classifier.3"))

    def moved(by: float) -> Candidate:
        return replace(int8, table=replace(int8.table, biases=biases | {last: biases[last] + by}))

    assert judge.prefers("equalization", moved(60.0), moved(100.0), EVERY)  # 4.4 dB
    assert not judge.rungs
    assert not judge.prefers("equalization", moved(80.0), moved(100.0), EVERY)  # 1.9 dB
    assert [(rung.name, rung.kept) for rung in judge.rungs] == [("equalization", False)]


def test_float_layers_stay_only_if_they_take_noise_out(tiny_graph: TinyGraph, tiny_table: TinyTable) -> None:
    judge, int8 = judging(tiny_graph(), tiny_table())
    judge.consider("min-max", int8)
    judge.consider("float layers", int8, WORTH_DB)
    less = replace(int8, table=int8.table.without([layer.node for layer in int8.table.layers[:30]]))
    judge.consider("float layers", less, WORTH_DB)
    assert [rung.kept for rung in judge.rungs] == [True, False, True]


def test_a_runtime_without_zero_points_has_signed_codes_where_no_bias_takes_one_in(
    climbed: Callable[..., Climbed],
) -> None:
    found = climbed("balanced", TENSORRT)
    signed = needing_zero(found.graph, place(found.graph))
    assert {name for name, quantizer in found.table.activations.items() if quantizer.signed} == (
        signed & found.table.activations.keys()
    )
    assert {quantizer.signed for quantizer in found.table.activations.values()} == {True, False}
    assert names(found) == names(climbed())
    assert not any(quantizer.signed for quantizer in climbed().table.activations.values())


def test_evidence_names_ranges_and_float_layers(climbed: Callable[..., Climbed], tiny_graph: TinyGraph) -> None:
    gates = place(tiny_graph()).gates
    for profile, floating in ((OPENVINO, set()), (PORTABLE, set(gates))):
        found = climbed("fast", profile)
        for rung in found.rungs:
            assert set(rung.float_layers) == floating
        assert found.rungs[0].ranges.keys() == {"min-max", "pixels"}


def test_float_layers_are_those_that_the_table_is_without(climbed: Callable[..., Climbed]) -> None:
    found = climbed()
    kept = [rung for rung in found.rungs if rung.kept][-1]
    assert found.rungs[-1].float_layers
    assert set(kept.float_layers) == set(place(found.graph).layers) - {layer.node for layer in found.table.layers}


def test_manifest_rows_have_no_clock_and_six_digits(climbed: Callable[..., Climbed]) -> None:
    for rung in climbed().rungs:
        row = rung.as_json()
        assert row.keys() == {
            "name", "kept", "n", "agreement", "sqnr_db", "kl", "ranges", "float_layers", "refined", "top1",
            "top1_reference",
        }  # fmt: skip
        assert row["kl"] == pytest.approx(rung.kl, rel=1e-5)
        assert isinstance(row["kept"], bool)


def test_the_table_holds_the_layers_that_the_runtime_runs_in_int8(
    climbed: Callable[..., Climbed], tiny_graph: TinyGraph
) -> None:
    layers, gates = set(place(tiny_graph()).layers), place(tiny_graph()).gates
    for profile, wanted in ((OPENVINO, layers), (PORTABLE, layers - gates)):
        found = climbed("fast", profile)
        assert found.graph.content == on_pixel_grid(tiny_graph(), HOW)[0].content
        assert {layer.node for layer in found.table.layers} == wanted
