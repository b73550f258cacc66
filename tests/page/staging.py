"""Shards, view and HTTP port of a worker, without broker and with little CPU: small networks, few steps."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

from pipeline.exporters.exposition import expose
from pipeline.exporters.http import HttpOptions, HttpServer, Providers
from pipeline.live.answers import Answers
from pipeline.live.overview import Overview
from tests.unit.live.conftest import HORIZON, Stage

HOSTILE = (
    "<script>document.title='broken'</script>",
    '"><img src=x onerror=alert(1)>',
    "plant/area 1/\"quoted\" & 'single'",
    "مضخة/حرارة/٣",
    "‮gnirts desrever",
    "long/" + "ä" * 125,
    "../../etc/passwd?x=1&y=2#z%00",
)
"""Ids that a sensor may have, and that a careless page would run, break at, or mistake for a path."""


LOOK_S = 0.3
"""A page is answered while no reading comes, too."""


class StageServer:
    """One reading of each series every `every_s`; `do` runs something between two of them."""

    def __init__(
        self,
        series: tuple[str, ...],
        *,
        past: int = 40,
        every_s: float = 0.3,
        most: int = 64,
        credentials: object = None,
    ) -> None:
        self.stage = Stage(most=most, length=120)
        self.stage.assign(0)
        self.series = series
        self._every_s, self._over = every_s, threading.Event()
        self._turning = threading.Lock()
        self._credentials = credentials
        self.move(past)
        view = self.stage.view
        overview = Overview(view, self.stage.readiness, horizon=HORIZON, champion="lstm", now=self.stage.now)
        answers = Answers(SimpleNamespace(holdings=self.stage.holdings), view, champion="lstm")
        self._providers = Providers(
            metrics=partial(expose, self.stage.registry),
            readiness=self.stage.readiness,
            overview=overview.describe,
            series=answers.list_series,
            one_series=answers.describe_series,
            errors=answers.describe_errors,
            networks=answers.describe_networks,
        )
        self.port = 0
        self.start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Listens, at the same port as before."""
        self._server = HttpServer(HttpOptions(port=self.port, credentials=self._credentials), self._providers)
        self._server.start()
        self.port = self._server.port

    def stop(self) -> None:
        self._server.stop()

    def close(self) -> None:
        self._over.set()
        self._thread.join(10)
        self.stop()

    def do(self, work: Callable[[Stage], object]) -> None:
        with self._turning:
            work(self.stage)

    def move(self, times: int) -> None:
        """A slow wave each. The first series is the smoothest: four steps ahead it is missed by most, in
        units of what it does in one, and so comes first in the list."""

        def value(row: int, k: int) -> float:
            noise = math.sin(12.9898 * k + 78.233 * row) * 43758.5453 % 1.0 - 0.5
            size = 0.3 if row == 0 else 4.0
            return 50.0 + row % 40 + 8.0 * math.sin(k / 9.0 + row) + size * noise

        if self.series:
            self.stage.step(self.series, times, value=value)
        else:
            self.stage.made += times

    def _run(self) -> None:
        pause_s, waited_s = min(self._every_s, LOOK_S), 0.0
        while not self._over.wait(pause_s):
            waited_s += pause_s
            with self._turning:
                if waited_s >= self._every_s:
                    self.move(1)
                    waited_s = 0.0
                # real time, so that what the page asks every second is renewed
                self.stage.look(pause_s)
