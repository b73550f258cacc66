"""An exporter on a registry of its own, and scores to feed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from pipeline.exporters.exposition import render
from pipeline.exporters.prometheus import MetricsExporter
from pipeline.records import Scores

FORECASTERS = ("naive", "lstm")
STEPS = (1, 2, 3, 4, 6)  # 3 is scored and is no label; 6 is the horizon


@dataclass
class Exported:
    """An exporter, the clocks it looks at, and what a scrape brings."""

    now_s: float = 1_000_000.0
    clock_s: float = 0.0
    memory: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.exporter = MetricsExporter(
            self.registry,
            forecasters=FORECASTERS,
            scored_steps=STEPS,
            trained=("lstm",),
            pairs=(("lstm", "naive"),),
            shown_forecasters=("lstm",),
            shown_steps=(1, 6),
            champion="lstm",
            topics=("plant",),
            software={"version": "1.2", "python": "3.11", "torch": "2.13"},
            device_memory=lambda: self.memory,
            now=lambda: self.now_s,
            clock=lambda: self.clock_s,
        )

    def scrape(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Samples of the text, as another parser reads them."""
        families = text_string_to_metric_families(render(self.registry).decode())
        return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}

    def value(self, name: str, **labels: str) -> float | None:
        """One exported value, None if there is no such sample."""
        return self.scrape().get((f"gatecast_{name}", frozenset(labels.items())))

    def rows(self, name: str) -> list[dict[str, str]]:
        """The label sets of one sample name."""
        return [dict(labels) for found, labels in self.scrape() if found == f"gatecast_{name}"]


@pytest.fixture
def exported() -> Exported:
    return Exported()


@pytest.fixture
def scores() -> Callable[..., Scores]:
    def build(
        slots: Sequence[int],
        error: object,
        *,
        missed: object = False,
        width: object = 2.0,
        scored: object = True,
        replaced: Sequence[int] = (0, 0),
    ) -> Scores:
        """Columns may be given as anything that broadcasts to `[N, E, Q]`, or `[N, Q]`: read in tests, rows
        come first."""
        n, e, q = len(slots), len(FORECASTERS), len(STEPS)

        def rows_last(column: object, kind: type) -> np.ndarray:
            return np.broadcast_to(column, (n, e, q)).transpose(1, 2, 0).astype(kind)

        return Scores(
            slots=np.array(slots, np.int64),
            scored=np.broadcast_to(scored, (n, q)).T.astype(bool),
            error=rows_last(error, np.float32),
            missed=rows_last(missed, bool),
            width=rows_last(width, np.float32),
            replaced=np.array(replaced, np.int64),
        )

    return build
