"""Parts of work: all of it, in order, cut alike on every machine, and BLAS left alone afterwards."""

import os
import threading
import time
from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from edgecnn.threads import PARTS, beside, in_order, in_parts, one_blas_thread, threads_each


@pytest.mark.parametrize("count", [1, 3, 4, 5, 11, 64])
@pytest.mark.parametrize("cores", [1, 2, 64])
def test_parts_are_the_same_whatever_the_number_of_cores(
    count: int, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    parts = in_parts(list, range(count))
    assert [item for part in parts for item in part] == list(range(count))
    assert len(parts) == min(count, PARTS)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_what_a_part_raises_is_raised() -> None:
    def fail(part: object) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        in_parts(fail, range(8))


def test_blas_has_one_thread_inside_and_its_own_afterwards() -> None:
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        before = threads()
        with one_blas_thread():
            assert threads() == {1}
        assert threads() == before


@pytest.fixture(params=[1, 2, 64])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many threads there are on so many cores."""
    cores = int(request.param)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    return min(cores, PARTS)


def test_items_are_made_while_others_are_at_work(at_once: int) -> None:
    """Results come in order, no more items wait than there are threads, and none is lost."""
    order: list[str] = []

    def made(count: int) -> Iterator[int]:
        for item in range(count):
            order.append(f"make {item}")
            yield item

    order.extend(f"use {result}" for result in in_order(lambda item: item, made(9)))
    made_first = [f"make {item}" for item in range(at_once + 1)]
    between = [step for item in range(8 - at_once) for step in (f"use {item}", f"make {item + at_once + 1}")]
    assert order == [*made_first, *between, *(f"use {item}" for item in range(8 - at_once, 9))]
    assert not list(in_order(str, []))


def test_as_many_are_at_work_as_there_are_threads(at_once: int) -> None:
    together = threading.Barrier(at_once)

    def meet(item: int) -> int:
        together.wait(timeout=30)  # fails if fewer come
        return item

    assert list(in_order(meet, range(4 * at_once))) == list(range(4 * at_once))


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_what_is_raised_comes_where_its_result_would(bad: int, at_once: int) -> None:
    def run(item: int) -> int:
        if item == bad:
            raise ValueError(f"item {item}")
        return item

    results = in_order(run, range(9))
    assert [next(results) for _ in range(bad)] == list(range(bad))
    with pytest.raises(ValueError, match=f"item {bad}"):
        next(results)


def test_nothing_is_at_work_after_its_caller_gave_up() -> None:
    """What runs uses the caller's arrays."""
    running: set[int] = set()

    def run(item: int) -> int:
        running.add(item)
        time.sleep(0.02)
        running.remove(item)
        return item

    results = in_order(run, range(9))
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]  # of a generator
    assert not running


def test_runtimes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, each in ((1, 1), (2, 1), (4, 1), (6, 2), (8, 2), (64, 16)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, cores=cores: set(range(cores)))
        assert threads_each() == each


def test_one_piece_of_work_beside_items(at_once: int) -> None:
    names: list[str] = []
    assert beside(lambda: names.append("one"), lambda item: item * 2, range(7)) == (None, [0, 2, 4, 6, 8, 10, 12])
    assert names == ["one"]


def test_what_either_raises_is_raised_when_both_have_ended(at_once: int) -> None:
    ended: list[str] = []

    def one() -> None:
        time.sleep(0.1)
        ended.append("one")

    with pytest.raises(ZeroDivisionError):
        beside(one, lambda item: 1 // item, [1, 0, 2])
    assert ended == ["one"]
    with pytest.raises(ZeroDivisionError):
        beside(lambda: 1 // 0, ended.append, ["a", "b"])
    assert ended == ["one", "a", "b"]
