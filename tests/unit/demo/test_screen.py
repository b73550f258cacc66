"""What the terminal shows of a worker; names are text, never markup."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from pipeline.demo.screen import choose_steps, list_led, say_alert, say_progress, show_worker

SERIES = "[bold red]x[/] <script>"


def make_overview() -> dict[str, Any]:
    """Of a worker with 3 series; LSTM leads RNN at step 12."""

    def forecaster(name: str, recurrent: bool, won: float | None, skill: float | None) -> dict[str, Any]:
        figures = {"mae": 1.25, "skill": skill, "coverage": 0.9}
        return {
            "name": name, "recurrent": recurrent, "parameters": 10, "seconds_per_reading": 1e-5, "won": won,
            "steps": {str(step): figures for step in (1, 4, 12)},
        }  # fmt: skip

    def row(a: str, b: str, step: int | None, leader: str | None) -> dict[str, Any]:
        return {"a": a, "b": b, "step": step, "leader": leader, "difference": -0.1, "verdict": "better"}

    states = {"live": 2, "warming": 1, "stale": 0}
    alert = {
        "id": "1", "kind": "bad_quality", "state": "firing", "series": SERIES,
        "reason": "3 readings in a row",
        "time": int(time.time() * 1000),
    }  # fmt: skip
    return {
        "version": 1,
        "worker": {"topic": "t", "partitions": [0], "series": 3, "states": states},
        "readings_per_second": 50.4,
        "lag": 1234,
        "sentence": "2 hours, 3 sensors: LSTM error 6.1 % below RNN",
        "steps": [1, 4, 12],
        "forecasters": [
            forecaster("naive", False, 0.0, 0.0),
            forecaster("rnn", True, 0.25, None),
            forecaster("lstm", True, 0.75, 0.123),
        ],
        "comparison": [
            row("lstm", "rnn", 1, None), row("lstm", "rnn", 12, "lstm"), row("lstm", "rnn", None, "lstm"),
            row("lstm", "naive", 1, "lstm"),
        ],
        "alerts": [alert],
    }  # fmt: skip


def render(overview: dict[str, Any], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(show_worker(overview, ["heading", "title"], width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 110])
def test_the_screen_shows_states_figures_sentence_and_alerts(width: int) -> None:
    text = render(make_overview(), width)
    assert "3 series: 2 live, 1 warming · 50 readings/s · lag 1,234 messages" in text
    assert "2 hours, 3 sensors: LSTM error 6.1 % below RNN." in text
    assert f"bad_quality  {SERIES}" in text, "markup in a name is text"
    assert max(map(len, text.splitlines())) <= width
    lstm = next(line for line in text.splitlines() if line.startswith("lstm"))
    figures = ["1.250", "0.123", "0.900"]
    assert lstm.split() == ["lstm", *figures * (3 if width >= 100 else 2), "75%", "12"]
    assert next(line for line in text.splitlines() if line.startswith("rnn")).split()[1:3] == ["1.250", "-"]


def test_leaders_are_of_the_networks_against_each_other_alone() -> None:
    overview = make_overview()
    assert list_led(overview, "lstm") == [12]
    assert list_led(overview, "rnn") == []


@pytest.mark.parametrize(
    ("steps", "number", "chosen"),
    [([1, 2, 4, 8, 12], 3, [1, 4, 12]), ([1, 2, 4, 8, 12], 2, [1, 12]), ([1], 3, [1]), ([1, 2], 3, [1, 2])],
)
def test_steps_are_the_first_the_last_and_one_between(
    steps: list[int], number: int, chosen: list[int]
) -> None:
    assert choose_steps(steps, number) == chosen


def test_a_worker_that_has_nothing_yet_is_shown() -> None:
    empty = make_overview() | {
        "worker": {"topic": "", "partitions": [], "series": 0, "states": {}},
        "lag": None, "steps": [], "forecasters": [], "comparison": [], "alerts": [],
    }  # fmt: skip
    text = render(empty, 80)
    assert "0 series · 50 readings/s · lag not known yet" in text
    assert "no alert yet" in text
    assert say_progress(empty) == "0 series · 50 readings/s · lag not known yet"


def test_plain_lines_say_the_same() -> None:
    overview = make_overview()
    assert say_progress(overview).endswith("skill at 1: rnn -, lstm 0.123 · skill at 12: rnn -, lstm 0.123")
    line = say_alert(overview["alerts"][0])
    assert line.endswith(f"firing bad_quality {SERIES}: 3 readings in a row")
    old = say_alert({**overview["alerts"][0], "time": 0})
    assert old.startswith("1970-01-01 00:00 firing")
