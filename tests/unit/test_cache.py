"""The two stores: budgets kept, the right things evicted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from p2p_core.cache.lru import LRU, RecordCache


def test_the_least_recent_source_goes_first_and_its_latest_steps() -> None:
    cache: RecordCache[str] = RecordCache(10)
    for step in range(4):
        cache.put("old", step, f"o{step}", 2)
    cache.put("new", 0, "n0", 2)
    assert cache.nbytes == 10 and cache.steps("old") == 4
    cache.put("new", 1, "n1", 2)
    assert cache.get("old", 3) is None and cache.get("old", 0) == "o0"
    assert cache.get("new", 0) == "n0"
    cache.get("old", 0)
    cache.put("third", 0, "t0", 2)  # "old" was asked for last, so "new" gives way
    assert cache.get("new", 1) is None and cache.steps("old") == 3 and cache.steps("new") == 1
    cache.drop("old")
    assert cache.nbytes == cache.size("new") + cache.size("third") == 4
    cache.put("new", 0, "again", 1)
    assert cache.nbytes == 3 and cache.get("new", 0) == "again"


def test_what_is_larger_than_the_budget_is_not_kept() -> None:
    cache: RecordCache[str] = RecordCache(0)
    cache.put("a", 0, "x", 1)
    assert cache.get("a", 0) is None and cache.nbytes == 0
    states: LRU[str] = LRU(3)
    states.put(("a", b"1"), "x", 9)
    assert states.get(("a", b"1")) is None and states.nbytes == 0


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 9)), max_size=60),
    st.integers(0, 30),
)
def test_budgets_are_kept_and_bytes_add_up(puts: list[tuple[str, int, int]], budget: int) -> None:
    cache: RecordCache[int] = RecordCache(budget)
    states: LRU[int] = LRU(budget)
    for source, step, nbytes in puts:
        cache.put(source, step, step, nbytes)
        states.put((source, bytes([step])), step, nbytes)
        assert cache.nbytes <= budget and states.nbytes <= budget
        assert cache.nbytes == sum(cache.size(s) for s in "abc")
    for source in "abc":
        cache.drop(source)
        states.drop(source)
    assert cache.nbytes == states.nbytes == 0


def test_lru_forgets_the_least_recent() -> None:
    states: LRU[int] = LRU(3)
    for n in range(3):
        states.put(("s", bytes([n])), n, 1)
    assert states.get(("s", b"\0")) == 0
    states.put(("s", b"\3"), 3, 1)
    assert states.get(("s", b"\1")) is None and states.get(("s", b"\0")) == 0
    states.clear()
    assert states.nbytes == 0 and states.get(("s", b"\0")) is None
