"""A 10 % slow-down is detected, 0 % is not, whatever the machine did meanwhile."""

import msgspec
import numpy as np
import pytest

from edgecnn.bench.record import Run
from edgecnn.bench.throughput import TURNS
from edgecnn.errors import InputError
from edgecnn.report.difference import Change, Difference, Measured, difference, time_word
from tests.made_up import ALONE, MACHINE, SETTINGS, busy, made_up_run, manifest, row, times_of

INT8 = "small-openvino-int8"
OLD = made_up_run()


def changes(found: Difference) -> dict[str, Change]:
    return {change.name: change for change in found.changes}


def slowdown(old: Run, new: Run, name: str) -> tuple[float, float, float]:
    measured = changes(difference(old, new))[name].slowdown_percent
    assert measured is not None
    return (measured.value, *measured.ci95)


@pytest.mark.parametrize("machine", [1.0, 1.3, 0.8])
@pytest.mark.parametrize("percent", [0, 10, -10])
def test_ratios_know_what_the_machine_did(machine: float, percent: int) -> None:
    new = made_up_run({INT8: 1 + percent / 100}, seed=1, machine=machine)
    value, low, high = slowdown(OLD, new, INT8)
    assert low <= value <= high
    assert low <= percent <= high
    assert (low > 0, high < 0) == (percent > 0, percent < 0)
    assert high - low < 6


def test_a_busy_machine_is_no_slowdown() -> None:
    """In busy seconds the ratio itself is another one; drawn one by one, a quarter of the equals looked unequal."""

    def run(seed: int, slower: float) -> Run:
        int8, eager = busy(seed, waits=1.1)
        rows = {INT8: slower * int8, "eager": 9 * eager}
        return made_up_run(
            seed=1,
            rows={name: msgspec.structs.replace(row(name, 1.0), times=times_of(ms)) for name, ms in rows.items()},
        )

    equal = [slowdown(run(2 * seed, 1.0), run(2 * seed + 1, 1.0), INT8) for seed in range(20)]
    assert sum(low <= 0 <= high for _, low, high in equal) >= 19
    slower = [slowdown(run(2 * seed, 1.0), run(2 * seed + 1, 1.1), INT8) for seed in range(20)]
    assert sum(low > 0 for _, low, _ in slower) >= 18


def test_the_anchors_own_change_is_the_machines() -> None:
    found = difference(OLD, made_up_run(seed=1, machine=1.3))
    assert found.anchor == "eager"
    assert changes(found)["eager"].anchor
    assert slowdown(OLD, made_up_run(seed=1, machine=1.3), "eager")[0] == pytest.approx(30, abs=3)


def test_the_anchor_is_the_first_row_that_is_the_same_thing() -> None:
    upgraded = row("eager", 8.0, seed=4, runtime="torch 2.0")
    found = difference(OLD, made_up_run(seed=1, rows={"eager": upgraded}))
    assert found.anchor == INT8
    assert "runtime: torch 1.0, then torch 2.0" in changes(found)["eager"].notes
    rebuilt = row(INT8, 1.1, seed=5, manifest=manifest(content="new"))
    assert difference(OLD, made_up_run(seed=1, rows={"eager": upgraded, INT8: rebuilt})).anchor not in ("eager", INT8)


def test_a_row_alone_is_compared_by_plain_times() -> None:
    others = dict.fromkeys([made.name for made in OLD.rows if made.name != INT8])
    old, new = made_up_run(rows=others), made_up_run({INT8: 1.1}, seed=1, rows=others)
    assert difference(old, new).anchor == ""
    assert slowdown(old, new, INT8)[0] == pytest.approx(10, abs=3)


def test_a_row_that_was_timed_alone_is_neither_held_against_an_anchor_nor_one() -> None:
    """What slowed the others did not slow it at the same time."""

    def run(seed: int, machine: float, slower: float) -> Run:
        eager = row("eager", 9.0 * machine, seed, absences=ALONE)
        return made_up_run(
            {"small-onnx-fp32": 1.0},
            seed,
            machine,
            rows={"eager": eager, INT8: row(INT8, slower, seed, absences=ALONE)},
        )

    old, new = run(0, 1.0, 1.0), run(1, 1.3, 1.1)
    found = difference(old, new)
    assert found.anchor == "small-onnxruntime-int8"
    assert slowdown(old, new, INT8)[0] == pytest.approx(10, abs=3)
    assert slowdown(old, new, "small-onnx-fp32")[0] == pytest.approx(0, abs=3)
    notes = changes(found)[INT8].notes
    assert "timed alone: plain times, the machine's own changes with them" in notes


def test_an_engine_of_the_same_bundle_is_not_the_same_bits() -> None:
    old, new = (made_up_run(rows={INT8: row(INT8, 1.0, absences=absences)}) for absences in (ALONE, ALONE))
    drop = changes(difference(old, new))[INT8].drop_pp
    assert drop is not None
    assert drop.ci95[0] < drop.value == 0 < drop.ci95[1]
    same = changes(difference(OLD, made_up_run(seed=1)))[INT8].drop_pp
    assert same is not None
    assert same.ci95 == (0, 0)


def test_rows_that_come_and_go_are_named() -> None:
    new = made_up_run(rows={INT8: None, "small-openvino-fp32": row("small-openvino-fp32", 3.0)})
    found = changes(difference(OLD, new))
    assert (found[INT8].here, found[INT8].lost) == ("missing", ("the row is gone",))
    assert (found["small-openvino-fp32"].here, found["small-openvino-fp32"].lost) == ("added", ())


def test_a_row_that_fails_now_has_lost_its_figures() -> None:
    failed = row(INT8, 1.1, status="out of memory", times=None)
    change = changes(difference(OLD, made_up_run(rows={INT8: failed})))[INT8]
    assert change.lost == ("it worked, now: out of memory",)
    assert change.slowdown_percent is None


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (made_up_run(machine_is={**MACHINE, "cpu": {**MACHINE["cpu"], "model": "Other"}}), "cpu.model is Made-up CPU"),
        (made_up_run(machine_is={**MACHINE, "gpus": [{"name": "T4"}]}), "gpus.0.name is unknown and T4"),
        (made_up_run(machine_is={**MACHINE, "cpu_limit": 1.0}), "cpu_limit is unknown and 1.0"),
        (made_up_run(settings=msgspec.structs.replace(SETTINGS, threads=1)), "threads is 2 and 1"),
        (made_up_run(settings=msgspec.structs.replace(SETTINGS, batch=8)), "batch is 1 and 8"),
        (made_up_run(settings=msgspec.structs.replace(SETTINGS, mode="throughput")), "mode is latency and throughput"),
        (made_up_run(rows={INT8: row(INT8, 1.1, model="large")}), f"row '{INT8}' is small in one run and large"),
        (
            made_up_run(rows=dict.fromkeys([made.name for made in OLD.rows]) | {"a-b-c": row("a-b-c", 1)}),
            "no row is in",
        ),
    ],
    ids=["machine", "GPU", "cores", "threads", "batch", "mode", "model", "no row"],
)
def test_runs_that_say_nothing_of_each_other_are_refused(new: Run, says: str) -> None:
    with pytest.raises(InputError, match=says):
        difference(OLD, new)


def test_clocks_and_load_only_make_noise() -> None:
    new = made_up_run(machine_is={**MACHINE, "clocks_mhz": {"before": 2000, "after": 1900}, "load": {"before": 3}})
    assert difference(OLD, new).changes


@pytest.mark.parametrize("percent", [0, 10])
def test_turns_give_throughput_its_interval(percent: int) -> None:
    """Of twenty turns each, as ``bench --mode throughput`` takes them."""

    def run(seed: int, slower: float) -> Run:
        turns = np.random.default_rng(seed).normal(1, 0.03, (2, TURNS))
        rows = {INT8: 1.1 * slower * turns[0], "eager": 10 * turns[1]}
        settings = msgspec.structs.replace(SETTINGS, mode="throughput")
        return made_up_run(
            settings=settings,
            rows={name: msgspec.structs.replace(row(name, 1.0), times=times_of(ms)) for name, ms in rows.items()},
        )

    value, low, high = slowdown(run(0, 1.0), run(1, 1 + percent / 100), INT8)
    assert low < value < high
    assert low <= percent <= high
    assert (low > 0) == (percent > 0)


def test_the_loss_is_of_the_same_images() -> None:
    worse = row(INT8, 1.1, manifest=manifest(top1=0.933, content="new"))
    drop = changes(difference(OLD, made_up_run(rows={INT8: worse})))[INT8].drop_pp
    assert drop is not None
    assert drop.value == 1.0
    assert drop.ci95 == pytest.approx((1 - 0.3 * 2**0.5, 1 + 0.3 * 2**0.5))
    other = manifest(content="new")
    other["evidence"]["images"] = {"name": "others", "sha256": "8" * 64}
    change = changes(difference(OLD, made_up_run(rows={INT8: row(INT8, 1.1, manifest=other)})))[INT8]
    assert change.drop_pp is None
    assert change.lost == ("answers cannot be compared: top-1 on made-up-1000, then top-1 on others",)


def test_the_same_bits_lose_nothing() -> None:
    drop = changes(difference(OLD, made_up_run(seed=1)))[INT8].drop_pp
    assert drop is not None
    assert (drop.value, drop.ci95) == (0.0, (0.0, 0.0))


def test_a_rejection_is_a_loss() -> None:
    rejected = row(INT8, 1.1, manifest=manifest(content="new", status="rejected"))
    assert changes(difference(OLD, made_up_run(rows={INT8: rejected})))[INT8].lost == ("its own gate rejects it",)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (Change("row", "missing"), "missing"),
        (Change("row", "added"), "added"),
        (Change("row", "both"), ""),
        (Change("row", "both", anchor=True, slowdown_percent=Measured(9.0, (8.0, 10.0))), "the machine's"),
        (Change("row", "both", slowdown_percent=Measured(9.0, (8.0, 10.0))), "slower"),
        (
            Change("row", "both", slowdown_percent=Measured(9.0, (8.0, 10.0)), steady=False),
            "slower, unstable",
        ),
        (Change("row", "both", slowdown_percent=Measured(-9.0, (-10.0, -8.0))), "faster"),
        (Change("row", "both", slowdown_percent=Measured(1.0, (-1.0, 3.0))), "no clear change"),
    ],
)
def test_a_word_for_what_became_of_a_time(change: Change, word: str) -> None:
    assert time_word(change) == word
