"""Parts of work: all of it, in order, cut alike on every machine, and BLAS left alone afterwards."""

import os
from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from edgecnn.quant.threads import PARTS, in_parts, one_behind, one_blas_thread


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


def test_a_runtime_is_one_behind() -> None:
    """Results come in order, each item is made while the one before it runs, and none is lost."""
    order: list[str] = []

    def made(count: int) -> Iterator[int]:
        for item in range(count):
            order.append(f"make {item}")
            yield item

    order.extend(f"use {result}" for result in one_behind(lambda item: item, made(3)))
    assert order == ["make 0", "make 1", "use 0", "make 2", "use 1", "use 2"]
    assert not list(one_behind(str, []))


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_what_the_runtime_raises_comes_where_its_result_would(bad: int) -> None:
    def run(item: int) -> int:
        if item == bad:
            raise ValueError(f"item {item}")
        return item

    results = one_behind(run, range(3))
    assert [next(results) for _ in range(bad)] == list(range(bad))
    with pytest.raises(ValueError, match=f"item {bad}"):
        next(results)
