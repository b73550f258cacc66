"""Forecasts are sent for a few waves in a row: each once, in order, and none is left behind."""

from __future__ import annotations

import pytest

from pipeline.issued import Selection
from pipeline.outbox import MOST_WAVES, Outbox
from tests.unit.doubles import MINUTE_MS, Journal, MemoryEmitter
from tests.unit.test_wave_teller import make_waves

NAMES = ("naive", "linear", "rnn", "blend")


@pytest.fixture
def emitter() -> MemoryEmitter:
    journal: Journal = []
    return MemoryEmitter(journal)


@pytest.fixture
def outbox(emitter: MemoryEmitter) -> Outbox:
    return Outbox(emitter, Selection(NAMES, ("blend",)))


def find_minutes(emitter: MemoryEmitter) -> list[int]:
    return [int(forecasts.event_time_ms[0]) // MINUTE_MS for forecasts in emitter.sent]


def test_few_waves_wait_for_each_other(outbox: Outbox, emitter: MemoryEmitter) -> None:
    for stepped in make_waves(3, 2 * MOST_WAVES - 1):
        outbox.add(stepped)
    assert find_minutes(emitter) == list(range(MOST_WAVES))
    outbox.send()
    assert find_minutes(emitter) == list(range(2 * MOST_WAVES - 1))
    outbox.send()
    assert len(emitter.sent) == 2 * MOST_WAVES - 1


def test_what_could_not_be_sent_is_not_sent_later() -> None:
    """A worker that can't send ends, and begins anew from its last checkpoint."""

    class Broken(MemoryEmitter):
        def forecasts(self, forecasts: object) -> None:
            raise OSError("gone")

    outbox = Outbox(Broken([]), Selection(NAMES, ("blend",)))
    outbox.add(make_waves(3, 1)[0])
    with pytest.raises(OSError, match="gone"):
        outbox.send()
    outbox.send()
