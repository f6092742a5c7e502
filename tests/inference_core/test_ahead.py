# SPDX-License-Identifier: GPL-3.0-or-later
"""Background threads: results in order, bounded look-ahead, and errors raised where the result is awaited."""

import threading
from collections.abc import Iterator

import pytest

from inference_core.runtime.ahead import ahead, in_order


def counted(taken: list[int], count: int) -> Iterator[int]:
    for item in range(count):
        taken.append(item)
        yield item


def test_prefetched_items_keep_their_order_and_are_bounded() -> None:
    taken: list[int] = []
    found: list[int] = []
    for item in ahead(counted(taken, 20), 3):
        found.append(item)
        assert len(taken) <= item + 1 + 3
    assert found == taken == list(range(20))
    assert list(ahead([], 3)) == []


def test_results_keep_the_order_of_their_items() -> None:
    first_may_end, taken = threading.Event(), list[int]()

    def work(item: int) -> int:
        if item == 1:
            first_may_end.set()
        if item == 0:
            assert first_may_end.wait(10), "the second is worked on beside the first"
        return item * 10

    found = []
    for result in in_order(work, counted(taken, 9)):
        found.append(result)
        assert len(taken) <= len(found) + 3
    assert found == [item * 10 for item in range(9)]


@pytest.mark.parametrize("where", ["items", "work"])
def test_an_error_is_raised_at_its_items_place(where: str) -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        if where == "items":
            raise ZeroDivisionError
        yield 0

    found: list[float] = []
    with pytest.raises(ZeroDivisionError):
        found.extend(in_order(lambda item: 1 / item, items()))
    with pytest.raises(ZeroDivisionError):
        found.extend(1 / item for item in ahead(items(), 2))
