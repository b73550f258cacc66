"""From a show's first line to its summary, on a stage that plays as the test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.demo import show
from pipeline.demo.programme import PlantProgramme


class Stage:
    """Ctrl-C comes at the second check; at each look, one sensor more was compared."""

    is_live = is_played = False

    def __init__(self) -> None:
        self.checks = self.looks = 0
        self.worker: Any = SimpleNamespace(overview=self, server=SimpleNamespace(port=1, url="http://here"))

    def check(self) -> None:
        self.checks += 1
        if self.checks == 2:
            raise KeyboardInterrupt

    def describe(self) -> dict[str, Any]:
        self.looks += 1
        return {
            "worker": {"series": self.looks, "states": {}}, "forecasters": [], "comparison": [], "alerts": [],
            "steps": [1], "lag": 0, "readings_per_second": 0.0, "sentence": f"sensors compared: {self.looks}",
        }  # fmt: skip


def test_the_summary_is_of_the_moment_it_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage()

    @contextmanager
    def run_stage(*_: object) -> Iterator[Stage]:
        yield stage
        stage.looks = 99  # its partitions were given back: there is nothing to be seen any more

    monkeypatch.setattr(show, "run_stage", run_stage)
    show.run_show(PlantProgramme(1), port=0, for_s=None, started_s=0.0)
    assert capsys.readouterr().out.splitlines()[-1] == "sensors compared: 2.", "one look more than was told"
