"""How far a feed has come and how fast it goes: a live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.demo.feed import Feed, Pacer

PLAIN_EVERY_S = 10.0
_WINDOW_S = 2.0  # of the rate that is shown
_LATE_S = 2.0  # less is no news


class Meter:
    """Shows a feed's progress on stderr while its block runs; ``total`` readings if the end is known."""

    def __init__(
        self,
        console: Console,
        feed: Feed,
        *,
        total: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._feed, self._clock = console, feed, clock
        self._start_s = self._window_s = self._plain_s = clock()
        self._window_readings = 0
        self._rate = 0.0
        self._note = ""
        bar = (BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f} %")) if total else ()
        self._progress = Progress(
            SpinnerColumn(),
            *bar,
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=total)

    def __enter__(self) -> "Meter":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, pacer: Pacer, note: str = "") -> None:
        """After each step; cheap between two refreshes."""
        now_s = self._clock()
        if now_s - self._window_s >= _WINDOW_S:
            self._rate = (self._feed.num_readings - self._window_readings) / (now_s - self._window_s)
            self._window_s, self._window_readings = now_s, self._feed.num_readings
        elif self._window_readings == 0 and now_s > self._start_s:
            self._rate = self._feed.num_readings / (now_s - self._start_s)
        late_s = 0.0 if self._feed.last_ms is None else pacer.find_delay_s(self._feed.last_ms)
        parts = (self._describe(), note, f"{late_s:,.0f} s behind" if late_s > _LATE_S else "")
        text = ", ".join(part for part in parts if part)
        self._progress.update(self._task, completed=self._feed.num_readings, description=text)
        if not self._console.is_terminal and now_s - self._plain_s >= PLAIN_EVERY_S:
            self._plain_s = now_s
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def summarise(self, what: str) -> None:
        """The last line."""
        seconds, feed = self._clock() - self._start_s, self._feed
        self._console.print(
            f"{what}: {feed.num_readings:,} readings in {feed.num_messages:,} messages "
            f"({_format_bytes(feed.num_bytes)}) in {seconds:,.1f} s, "
            f"{feed.num_readings / max(seconds, 1e-9):,.0f} readings/s",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip

    def _describe(self) -> str:
        return f"{self._feed.num_readings:,} readings, {self._rate:,.0f} readings/s"


def _format_bytes(number: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
