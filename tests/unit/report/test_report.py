"""The report and the pictures of a backtest: what they show, what they say, and names that mean harm."""

from __future__ import annotations

import html.parser
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.backtest import BacktestOptions, run_backtest
from pipeline.cli import main
from pipeline.histories import read_history
from pipeline.report.looks import DARK, LIGHT, adapt_svg
from pipeline.report.page import make_report
from pipeline.report.pictures import list_pictures, render_svg
from pipeline.report.record import BUCKETS, SHOWN_STEPS, Recorder
from pipeline.sources.tables import TableOptions

NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "שלום \u202eevil",
    "a$x^2$/{{ 7 * 7 }}",
)
HORIZON = 3
ROWS = 120


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hourly values of four series with hostile names; the third has a hole of 40 hours."""
    rng = np.random.default_rng(5)
    values = np.sin(np.arange(ROWS)[:, None] / 4 + np.arange(4)) + 0.1 * rng.normal(size=(ROWS, 4))
    values[30:70, 2] = np.nan
    path = tmp_path_factory.mktemp("report") / "a&b.csv"
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in NAMES)
    times = np.datetime64("2024-01-01T00", "m") + np.arange(ROWS) * np.timedelta64(1, "h")
    rows = [
        f"{time}," + ",".join("" if np.isnan(value) else f"{value:.4f}" for value in row)
        for time, row in zip(times, values, strict=True)
    ]
    path.write_text("\n".join([f"time,{quoted}", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def played(file: Path) -> tuple[dict[str, Any], Recorder]:
    history = read_history([str(file)], TableOptions(), rows=None, warmup=0.2, score_from=0.25)
    options = BacktestOptions(
        forecasters=("naive", "rnn", "lstm", "blend"), horizon=HORIZON, build={"hidden": 8}
    )
    outcome = run_backtest(
        history,
        options,
        make_recorder=lambda bank: Recorder(history, bank, coverage=0.9, units="own units"),
    )
    assert outcome.recorder is not None
    return outcome.report, outcome.recorder


class Reader(html.parser.HTMLParser):
    """Tags, texts and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.append(name)
            if name in ("src", "href", "xlink:href") and value is not None:
                self.addresses.append(value)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_track_shows_what_was_said_that_many_steps_ago(played: tuple[dict[str, Any], Recorder]) -> None:
    _, recorder = played
    tracks = {(track.series, track.step): track for track in recorder.list_tracks()}
    assert set(tracks) == {(name, step) for name in NAMES for step in (1, HORIZON)}
    for step in (1, HORIZON):
        track = tracks[NAMES[0], step]
        assert len(track.value) == min(SHOWN_STEPS, ROWS)
        # naive says the last value, so what it said `step` steps ago is the value of then
        np.testing.assert_allclose(track.mean[step:, 0], track.value[:-step], atol=1e-5)
        assert np.isnan(track.mean[:step]).all()
        said = np.isfinite(track.mean)
        assert (track.lower[said] <= track.upper[said]).all()
    holed = tracks[NAMES[2], 1]
    assert np.flatnonzero(np.isnan(holed.value)).tolist() == list(range(30, 70)), "a hole is a hole"


def test_errors_over_time_average_to_those_of_the_report(played: tuple[dict[str, Any], Recorder]) -> None:
    """In units of each series' naive error naive itself errs by about 1 at one step."""
    report, recorder = played
    times, mean = recorder.find_errors()[1]
    assert 30 < len(times) <= BUCKETS
    assert (np.diff(times) > 0).all()
    naive, blend = mean[:, 0].mean(), mean[:, 3].mean()
    assert naive == pytest.approx(1.0, abs=0.35)
    skill = report["forecasters"]["blend"]["path"]["1"]["skill"]
    assert 1 - blend / naive == pytest.approx(skill, abs=0.1)


def test_the_report_is_one_file_in_which_names_are_text(played: tuple[dict[str, Any], Recorder]) -> None:
    report, recorder = played
    text = make_report(report, list_pictures(report, recorder), units=recorder.units, version="1.2")
    read = Reader(text)
    assert "script" not in read.tags
    assert "img" not in read.tags
    assert "link" not in read.tags
    assert not read.handlers
    assert all(address.startswith("#") for address in read.addresses), "nothing is fetched from anywhere"
    for name in NAMES:
        assert name in read.texts
    # the sentence comes first, before any picture
    opening = text.index(f"{report['sentence']}.")
    assert opening < text.index("<svg")
    order = [text.index(f"<h2>{heading}</h2>") for heading in (
        "Forecasts against values", "Error by step", "Calibration", "Error over time", "lstm against rnn",
        "Gradient reach", "Figures", "Comparison", "Where readings are missing",
    )]  # fmt: skip
    assert order == sorted(order)
    for row in report["comparison"]:
        assert row["verdict"] in read.texts
    assert len(report["masked"]) >= 4, "a hole takes a series through several shares"
    for row in report["masked"]:
        assert f"{row['error']['lstm']:.3f}" in read.texts


def test_pictures_follow_the_theme_and_share_no_id(played: tuple[dict[str, Any], Recorder]) -> None:
    report, recorder = played
    svgs = [render_svg(picture) for picture in list_pictures(report, recorder)]
    assert len(svgs) == len(NAMES) + 5
    ids = [re.findall(r'id="([^"]+)"', svg) for svg in svgs]
    flat = [name for names in ids for name in names]
    assert len(set(flat)) == len(flat)
    for svg in svgs:
        assert svg.startswith("<svg")
        assert "var(--rnn)" in svg or "var(--muted)" in svg
        assert not [colour for colour in LIGHT.values() if colour in svg]
    assert svgs == [render_svg(picture) for picture in list_pictures(report, recorder)], "same twice"


def test_both_themes_have_every_colour() -> None:
    assert list(LIGHT) == list(DARK)
    assert len(set(LIGHT.values())) == len(LIGHT), "a colour is replaced by its own variable"
    assert adapt_svg(f"<?xml?>\n<svg><g style='fill: {LIGHT['seasonal_naive']}'/></svg>") == (
        "<svg><g style='fill: var(--seasonal-naive)'/></svg>"
    )


def call(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_the_command_writes_report_and_pictures(file: Path, tmp_path: Path) -> None:
    page, folder = tmp_path / "r.html", tmp_path / "new" / "plots"
    result = call(
        "backtest", file, "--horizon", 1, "--rows", 40, "--forecasters", "naive,linear",
        "--report", page, "--plots", folder,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "Of naive, linear, " in page.read_text(encoding="utf-8"), "without two networks, who errs least"
    names = {path.stem for path in folder.iterdir()}
    assert names == {
        "forecasts-1",
        "forecasts-2",
        "forecasts-3",
        "forecasts-4",
        "calibration",
        "error-over-time",
    }
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert image.width > 1000
            low, high = image.convert("L").getextrema()
            assert (low, high) != (255, 255), f"{path.name} is empty"


def test_without_matplotlib_it_is_refused_before_anything_runs(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.backtest_command.find_spec", lambda name: None)
    result = call("backtest", file, "--report", tmp_path / "r.html")
    assert result.exit_code == 2
    assert "pip install 'gatecast[report]'" in result.stderr
    assert importlib.util.find_spec("matplotlib") is not None
