"""The one loop of the live worker and the backtest: readings to steps, steps to waves, waves to the bank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pipeline.engine.intake import Intake, Register
from pipeline.engine.rows import Steps
from pipeline.engine.waves import waves
from pipeline.records import BoolArray, Float64Array, Int64Array, Readings

ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Bank(Register, Protocol[ResultT_co]):
    """The forecasters of a shard, as the engine sees them."""

    @property
    def readings_to_tick(self) -> int:
        """How many more unmasked readings until the next tick; at least 1."""

    def find_round_end(self, event_time_ms: Int64Array, masked: BoolArray) -> int | None:
        """Before which of these steps, in log order, a tick falls since a round of readings is over; None:
        before none of them."""

    def end_round(self) -> None:
        """That tick, once all steps before it were taken."""

    def hear_clock(self, clock_ms: int) -> None:
        """How far the shard clock is at the steps that come next."""

    def restart(self, slots: Int64Array) -> None:
        """Forget what series carry from reading to reading, before the step that follows a long gap."""

    def step(
        self,
        slots: Int64Array,
        event_time_ms: Int64Array,
        values: Float64Array,
        mask: BoolArray | None = None,
        filled: Int64Array | None = None,
    ) -> ResultT_co:
        """Score, observe, learn at ticks and forecast for one wave.

        mask is True where no value is usable; filled: so many steps of the grid right before this one had no
        reading, and are taken as masked ones of which nobody hears a forecast.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave(Generic[ResultT]):
    """One wave that the bank has stepped: columns [S], each slot at most once, in the order of `waves`."""

    slots: Int64Array
    event_time_ms: Int64Array  # on the grid of the series
    value: Float64Array  # 0 where masked
    masked: BoolArray
    reading: Int64Array  # number in the log
    result: ResultT


class Engine(Generic[ResultT]):
    """Takes a log of readings through a bank. What comes out does not depend on how the log is cut."""

    def __init__(self, bank: Bank[ResultT], intake: Intake) -> None:
        self.bank = bank
        self.intake = intake

    def process(self, readings: Readings) -> Iterator[Wave[ResultT]]:
        """Step through a batch, a wave for each item drawn; draw all before the next call."""
        return self.step(self.intake.place(readings).steps)

    def finish(self) -> Iterator[Wave[ResultT]]:
        """Step through what the intake still holds back, at the end of a file; draw all."""
        return self.step(self.intake.flush())

    def step(self, steps: Steps) -> Iterator[Wave[ResultT]]:
        """Step through what the intake has placed; draw all."""
        for wave, _ in self.step_rows(steps):
            yield wave

    def step_rows(self, steps: Steps) -> Iterator[tuple[Wave[ResultT], Int64Array]]:
        """Likewise, each wave with the rows of `steps` that it is made of."""
        for rows in waves(steps, self.bank):
            slots, event_time_ms = steps.slot[rows], steps.event_time_ms[rows]
            value, masked = steps.value[rows], steps.masked[rows]
            restart = steps.restart[rows]
            if restart.any():
                self.bank.restart(slots[restart])
            self.bank.hear_clock(int(steps.clock_ms[rows].max()))
            wave = Wave(
                slots=slots,
                event_time_ms=event_time_ms,
                value=value,
                masked=masked,
                reading=steps.reading[rows],
                result=self.bank.step(slots, event_time_ms, value, masked, steps.filled[rows]),
            )
            yield wave, rows
