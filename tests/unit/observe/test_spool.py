"""The way from the loop to a thread."""

from __future__ import annotations

import threading

from gateway.observe.spool import Spool


def test_lines_arrive_in_order_and_in_batches() -> None:
    """The thread takes everything, once."""
    seen: list[bytes] = []
    spool = Spool("test", lambda batch: seen.extend(batch) or True, interval=0.0, capacity=10_000, batch=7)
    spool.start()
    lines = [b"%d" % number for number in range(1000)]
    for line in lines:
        assert spool.put(line)

    assert spool.close()
    assert lines == seen
    assert not spool.is_running


def test_what_does_not_fit_is_refused_and_counted() -> None:
    """Memory has a bound."""
    spool = Spool("test", lambda batch: True, interval=0.0, capacity=2)

    assert [True, True, False] == [spool.put(b"x") for _ in range(3)]
    assert (1, 2) == (spool.lost, spool.backlog)
    assert spool.close()
    assert 0 == spool.backlog


def test_a_batch_that_fails_is_offered_again() -> None:
    """Nothing is lost, nothing is written twice, and closing says if something is left."""
    seen: list[list[bytes]] = []
    answers = iter([False, True])

    def write(batch: list[bytes]) -> bool:
        seen.append(batch.copy())
        return next(answers)

    spool = Spool("test", write, interval=0.0, capacity=10)
    spool.put(b"a")

    assert not spool.close()
    spool.put(b"b")
    assert spool.close()
    assert [[b"a"], [b"a", b"b"]] == seen


def test_the_thread_tries_again_after_a_failure() -> None:
    """A disk that recovers is noticed while the thread runs; closing cuts the pause short."""
    failed, written = threading.Event(), threading.Event()

    def write(batch: list[bytes]) -> bool:
        if not failed.is_set():
            failed.set()
            return False
        if batch:
            written.set()
        return True

    spool = Spool("test", write, interval=0.0, capacity=10)
    spool.start()
    spool.put(b"a")

    assert failed.wait(10)
    assert spool.close()
    assert written.is_set()


def test_more_than_one_batch_is_written_in_one_go() -> None:
    """The consumer drains to the end, so that a line never waits for the next one to wake it."""
    sizes: list[int] = []
    spool = Spool("test", lambda batch: sizes.append(len(batch)) is None, interval=0.0, capacity=100, batch=4)
    for _ in range(10):
        spool.put(b"x")

    assert spool.close()
    assert [4, 4, 2] == sizes
