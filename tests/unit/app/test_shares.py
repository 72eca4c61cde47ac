"""What one worker gets of a configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.app.compilation import compile_settings
from gateway.app.shared_state import make_state
from gateway.app.shares import part, share_of_worker
from gateway.config.errors import ConfigurationError
from gateway.state.redis import RedisStore
from tests.unit.app.settings import CLOCK, FULL
from tests.unit.app.test_process import simple

if TYPE_CHECKING:
    from tests.unit.app.settings import Directory

FLOOD = "flood: {address: 500/second}"
SHARED = 'state: {url: "redis://127.0.0.1:6379", on_failure: local, processes: 2}\n'


def test_bounds_are_the_gateway_s(directory: Directory) -> None:
    """Each worker gets its part, rounded up; timeouts and what is per connection stay."""
    whole = directory.compile(simple(more=SHARED))
    worker = share_of_worker(whole, 2, 3)
    bounds, parts = whole.settings.server.bounds, worker.settings.server.bounds

    assert (10_000, 3334) == (bounds.connections, parts.connections)
    assert (1000, 334) == (bounds.connections_per_address, parts.connections_per_address)
    assert part(bounds.body_memory, 3) == parts.body_memory
    assert (bounds.head, bounds.headers) == (parts.head, parts.headers)
    assert [86] == [backend.connections for backend in worker.backends]
    assert "gateway.2.jsonl" == worker.settings.audit.path.name
    assert ([None], [43]) == (
        [backend.requests for backend in worker.backends],
        [backend.queue for backend in worker.backends],
    )
    assert (whole.version, 256) == (worker.version, whole.backends[0].connections)


def test_what_comes_from_one_source_and_goes_to_one_backend_is_divided(directory: Directory) -> None:
    """Rates by count, not by period; what is not bounded stays so."""
    text = simple(more=SHARED).replace("drain: 5s", f"drain: 5s, {FLOOD}", 1)
    text = text.replace(
        'endpoints: ["http://127.0.0.1:9"]', 'endpoints: ["http://127.0.0.1:9"], requests: 32'
    )
    worker = share_of_worker(directory.compile(text), 2, 3)
    flood = worker.settings.server.flood

    assert flood.address is not None
    assert (167, 1.0) == (flood.address.count, flood.address.period)
    assert flood.certificate is None
    assert [11] == [backend.requests for backend in worker.backends]


def test_a_local_share_counts_workers(directory: Directory) -> None:
    """Two gateways of three workers each: when Redis is away each of the six grants a sixth."""
    worker = share_of_worker(directory.compile(simple(more=SHARED)), 1, 3)
    store, _ = make_state(worker, CLOCK)

    assert isinstance(store, RedisStore)
    assert (6, pytest.approx(1 / 6)) == (worker.settings.state.processes, store._share)


def test_no_local_share_stays_none(directory: Directory) -> None:
    """Where nothing is granted without Redis there is no part to count."""
    shared = 'state: {url: "redis://127.0.0.1:6379"}\n'

    assert share_of_worker(directory.compile(simple(more=shared)), 1, 3).settings.state.processes is None


@pytest.mark.parametrize("text", [FULL, simple()])
def test_memory_is_for_one(directory: Directory, text: str) -> None:
    """State in memory with two workers is a mistake, reported with the others; with one it is none."""
    loaded = directory.load(text)
    compile_settings(loaded, directory.path, CLOCK, workers=1)
    with pytest.raises(ConfigurationError) as caught:
        compile_settings(loaded, directory.path, CLOCK, workers=2)
    [problem] = caught.value.problems

    assert "with state in memory each of 2 workers would grant every limit in full" == problem.message
    assert "`--workers 1`" in problem.mend


def test_assertions_need_one_key(directory: Directory) -> None:
    """Where somebody verifies them: the key that is published would be none of those that sign."""
    text = simple(more=SHARED).replace("private_key: certs/assertions.key", "single_use: true")
    loaded = directory.load(text)
    compile_settings(loaded, directory.path, CLOCK, workers=1)
    with pytest.raises(ConfigurationError) as caught:
        compile_settings(loaded, directory.path, CLOCK, workers=2)
    [problem] = caught.value.problems

    assert problem.message.startswith("each of 2 workers would sign assertions with a key of its own")
    for unread in (text.replace(", single_use: true", ""), simple(more=SHARED)):
        assert compile_settings(directory.load(unread), directory.path, CLOCK, workers=2)


def test_parts_are_never_nothing() -> None:
    """A bound of one is one for each."""
    assert [1, 1, 2, 4] == [part(whole, 3) for whole in (1, 3, 4, 10)]


def test_one_worker_listens_to_security_events(directory: Directory) -> None:
    """A transmitter speaks to one; the others would take its silence towards them for a failure."""
    whole = replace(directory.compile(simple(more=SHARED)), feeds=(object(),))  # type: ignore[arg-type]

    assert [1, 0, 0] == [len(share_of_worker(whole, number, 3).feeds) for number in (1, 2, 3)]
