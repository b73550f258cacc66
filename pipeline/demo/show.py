"""A demonstration from its first line to its last: a live screen, or plain lines without a terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

from pipeline.demo.programme import Programme
from pipeline.demo.screen import NOTED, Overview, say_alert, say_progress, show_forecasters, show_worker
from pipeline.demo.stage import Stage, run_stage
from pipeline.feed_options import hold_sigterm

REFRESH_S = 0.5
PLAIN_EVERY_S = 10.0
LIVE = "live"
CAUGHT_UP = 2
"""Messages of lag; the newest round may be on its way."""
MEMORY = "broker in memory, for this demo only: nothing is kept at the end"


class Show:
    """Tells the console how a stage is doing, at each `tell`; and in the end what came of it."""

    def __init__(
        self,
        console: Console,
        programme: Programme,
        stage: Stage,
        started_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._programme, self._stage = console, programme, stage
        self._clock, self._started_s = clock, started_s
        self._told_s = float("-inf")
        self._heard: set[tuple[str, str]] = set()
        self._marks: dict[str, float] = {}
        self._fired = self._resolved = 0
        self.overview: Overview | None = None
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def open(self) -> AbstractContextManager[Any]:
        """The live screen, or nothing."""
        if self._live is None:
            for line in (self._programme.title, MEMORY, *self._programme.notes):
                self._print(line)
        return self._live or nullcontext()

    def look(self) -> Overview:
        """What happened is told once, and the last look is what `close` sums up."""
        overview: Overview = self._stage.worker.overview.describe()
        self.overview = overview
        self._mark_first(overview)
        for alert in reversed(overview["alerts"]):  # the oldest first
            self._hear(alert)
        return overview

    def tell(self) -> None:
        overview = self.look()
        if self._live is not None:
            self._live.update(show_worker(overview, self._heading(), self._console.width), refresh=True)
        elif self._clock() - self._told_s >= PLAIN_EVERY_S:
            self._told_s = self._clock()
            self._print(f"{self._passed_s:.0f} s: {say_progress(overview)}")

    def close(self) -> None:
        """What came of it."""
        overview = self.overview
        if overview is None:
            return self._print("ended before anything was forecast")
        if self._live is None and overview["forecasters"]:
            self._print(say_progress(overview))
            self._console.print(show_forecasters(overview, self._console.width))
        marks = ", ".join(f"{what} after {seconds:.1f} s" for what, seconds in self._marks.items())
        self._print(
            f"{self._passed_s:.0f} s; {marks or 'nothing was forecast yet'}; "
            f"alerts: {self._fired} fired, {self._resolved} resolved"
        )
        self._print(f"{overview['sentence']}.")

    @property
    def _passed_s(self) -> float:
        return self._clock() - self._started_s

    def _heading(self) -> list[str]:
        stage = self._stage
        pace = "live" if LIVE in self._marks else "history first, so that nothing is cold"
        if stage.is_played:
            pace = "the file has come to its end"
        return [
            f"Gatecast demo, {self._passed_s:.0f} s: {pace}. Page: {stage.worker.server.url} · Ctrl-C ends",
            self._programme.title,
            MEMORY,
        ]

    def _mark_first(self, overview: Overview) -> None:
        """When something was there for the first time; forecasts once one has met its reading."""
        scored = any(
            step["mae"] is not None for each in overview["forecasters"] for step in each["steps"].values()
        )
        seen = {
            "first forecast scored": scored,
            LIVE: self._stage.is_live and overview["lag"] is not None and overview["lag"] <= CAUGHT_UP,
            "first alert": any(alert["state"] == "firing" for alert in overview["alerts"]),
        }
        for what, is_there in seen.items():
            if is_there and what not in self._marks:
                self._marks[what] = self._passed_s
                if self._live is None:
                    self._print(f"{self._passed_s:.0f} s: {what}")

    def _hear(self, alert: Mapping[str, Any]) -> None:
        key = alert["id"], alert["state"]
        if key in self._heard or alert["state"] == NOTED:
            return
        self._heard.add(key)
        self._fired += alert["state"] == "firing"
        self._resolved += alert["state"] == "resolved"
        if self._live is None:
            self._print(say_alert(alert))

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=not self._console.is_terminal)


def run_show(programme: Programme, port: int, for_s: float | None, started_s: float) -> None:
    """Until Ctrl-C, SIGTERM, `for_s` or an error, which it raises."""
    console = Console(highlight=False)
    set_up_log(console)
    deadline_s = started_s + for_s if for_s is not None else float("inf")
    show: Show | None = None
    with hold_sigterm():
        try:
            with run_stage(programme, port) as stage:
                show = Show(console, programme, stage, started_s)
                with show.open():
                    wait_for_server(stage)
                    if not console.is_terminal:
                        console.print(f"page: {stage.worker.server.url}", soft_wrap=True)
                    try:
                        while time.monotonic() < deadline_s:
                            stage.check()
                            show.tell()
                            time.sleep(min(REFRESH_S, max(deadline_s - time.monotonic(), 0.0)))
                    finally:
                        show.look()  # what is summed up is no older than what the page has shown
        except KeyboardInterrupt:  # the usual end
            pass
    if show is not None:
        show.close()


def wait_for_server(stage: Stage) -> None:
    """Until its port is known."""
    while not stage.worker.server.port:
        stage.check()
        time.sleep(0.02)


def set_up_log(console: Console) -> None:
    """Warnings above the screen; what clients of Kafka say about a broker in memory is left out."""
    handler = RichHandler(console=console, show_path=False, markup=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s", force=True)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
