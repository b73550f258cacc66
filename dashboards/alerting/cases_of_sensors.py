"""Stories that the rule about sensors must stand, and what its messages say."""

from __future__ import annotations

from urllib.parse import quote

from dashboards.alerting.testing import EVALUATION_S, STEP_S, Case, Phase, gone, level
from dashboards.thresholds import Thresholds

NAME = "GatecastSensorAlert"
SERIES = "Nord/Reactor 2/TI-4711"
HOSTILE = 'Kessel "Süd"\\<b>/温度'
PLACE = {"site": "Nord", "area": "Reactor 2", "owner": "process", "severity": "page"}
STARTED_S = 1_795_415_863  # 2026-11-23 06:37:43 UTC
HOUR = 3600


def list_cases(t: Thresholds) -> list[Case]:
    return [_moves(t), _silence(), _anomaly(t), _ended(t), _hostile(t)]


def active(kind: str, series: str = SERIES, instance: str = "a:8000") -> str:
    place = ",".join(f'{key}="{value}"' for key, value in PLACE.items())
    return f'gatecast_alert_active{{instance="{instance}",{place},series="{_quote(series)}",kind="{kind}"}}'


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _labels(kind: str, series: str = SERIES) -> dict[str, str]:
    return {**PLACE, "series": series, "kind": kind}


def _moves(t: Thresholds) -> Case:
    """Killed, its partition comes to another worker a little before `keep` has passed: one alert all along.
    Then both show it for a moment, as in a cooperative rebalance: still one."""
    keep_s = t.sensor_alert.keep.seconds
    first_s, gap_s, last_s = 600, (keep_s - 2 * EVALUATION_S) // STEP_S * STEP_S, 600
    back_s = first_s + gap_s
    end_s = back_s + last_s
    return Case(
        title=f"{NAME}: fires at once, and stays one alert while its shard moves",
        alert=NAME,
        series={
            active("anomaly"): (level(first_s, 1.0), gone(gap_s + last_s // 2), level(60, 1.0), gone(3600)),
            active("anomaly", instance="b:8000"): (gone(back_s), level(last_s, 1.0), gone(3600)),
        },
        labels=_labels("anomaly"),
        firing=(0, 300, *range(first_s, end_s, EVALUATION_S), end_s + keep_s - STEP_S),
        quiet=(end_s + keep_s + 60,),
    )


def _silence() -> Case:
    """Everything about a sensor but an episode: nothing fires, whatever its score."""
    series = {
        f'gatecast_alert_score{{series="{SERIES}",kind="anomaly"}}': (level(HOUR, 7.5),),
        f'gatecast_series_value{{series="{SERIES}"}}': (level(HOUR, 93.4),),
    }
    return Case(title=f"{NAME}: no score fires it", alert=NAME, series=series, quiet=(0, 60, 1800, 3000))


def _known(kind: str) -> dict[str, tuple[Phase, ...]]:
    """What a worker exports of a sensor whose alert it shows."""
    own, episode = f'series="{SERIES}"', f'series="{SERIES}",kind="{kind}"'
    values = {
        f'gatecast_alert_info{{{episode},name="TI-4711",unit="°C"}}': 1,
        f"gatecast_alert_started_timestamp_seconds{{{episode}}}": STARTED_S,
        f"gatecast_alert_value{{{episode}}}": 93.4321,
        f"gatecast_alert_expected{{{episode}}}": 81.23,
        f"gatecast_alert_lower{{{episode}}}": 78.93,
        f"gatecast_alert_upper{{{episode}}}": 83.51,
        f"gatecast_alert_score{{{episode}}}": 1.3149,
        f"gatecast_alert_readings_learned{{{episode}}}": 52341,
        f'gatecast_series_quality{{{own},quality="good"}}': 1,
        f"gatecast_series_value{{{own}}}": 91.7,
    }
    return {selector: (Phase(seconds=HOUR, value=float(value)),) for selector, value in values.items()}


def _quote_url(text: str) -> str:
    return quote(text, safe="")


def _links(t: Thresholds, series: str, kind: str, start: str = "now-6h") -> dict[str, str]:
    silenced = f'{{series="{_quote(series)}",kind="{kind}"}}'
    return {
        "runbook_url": f"{t.links.runbooks}/{NAME}.md",
        "dashboard_url": f"{t.links.grafana}/d/gatecast-series?var-series={_quote_url(series)}"
        f"&from={start}&to=now",
        "silence_filter": _quote_url(silenced),
    }


def _full(t: Thresholds, kind: str, summary: str) -> dict[str, str]:
    """What is said of the sensor of `_known`."""
    links = _links(t, SERIES, kind, f"{STARTED_S - 6 * HOUR}000")
    return {
        **links,
        "summary": summary,
        "description": f"Series {SERIES} is at 93.43 °C; kind {kind}, owner process. "
        f"Look at it: {links['dashboard_url']}",
        "name": "TI-4711",
        "value": "93.43 °C",
        "expected": "81.23 °C (78.93 … 83.51)",
        "score": f"1.31; {t.score.page:.1f} pages",
        "quality": "good",
        "learned": "52341 readings",
        "now": "91.7 °C",
        "since": "Mon 23 Nov 06:37:43 UTC",
        "ended": "",
        "others": "",
    }


def _bare(t: Thresholds, series: str, kind: str, words: str) -> dict[str, str]:
    """What is said of a sensor of which nothing else is exported: lines are missing, none is wrong."""
    names = ("value", "expected", "score", "quality", "learned", "now", "since", "ended", "others")
    empty = dict.fromkeys(names, "")
    links = _links(t, series, kind)
    return {
        **links,
        **empty,
        "summary": f"{series} {words}",
        "description": f"Series {series} kind {kind}, owner process. Look at it: {links['dashboard_url']}",
        "name": series,
    }


def _anomaly(t: Thresholds) -> Case:
    """Then another sensor of the area follows, and one of another area, which is not its business."""
    near, far = "Nord/Reactor 2/PI-9", "Ost/PI-1"
    elsewhere = active("stuck", far).replace("Reactor 2", "Boiler house")
    labels, message = _labels("anomaly"), _full(t, "anomaly", "TI-4711 above expected")
    told_near = _bare(t, near, "bad_quality", "delivers nothing usable") | {"others": f"{SERIES} (anomaly)"}
    return Case(
        title=f"{NAME}: what a message says, and that it names what else fires in the area",
        alert=NAME,
        series={
            active("anomaly"): (level(HOUR, 1.0),),
            active("bad_quality", near): (gone(300), level(HOUR, 1.0)),
            elsewhere: (gone(300), level(HOUR, 1.0)),
            **_known("anomaly"),
        },
        messages={
            60: [(labels, message)],
            600: [
                (labels, message | {"others": f"{near} (bad quality)"}),
                (_labels("bad_quality", near), told_near),
                (
                    _labels("stuck", far) | {"area": "Boiler house"},
                    _bare(t, far, "stuck", "is stuck"),
                ),
            ],
        },
    )


def _ended(t: Thresholds) -> Case:
    """How it ended is seen for the last minute; the alert keeps it while it is held, until it resolves."""
    keep_s = t.sensor_alert.keep.seconds
    own = f'series="{SERIES}",kind="stuck",resolution="shifted"'
    told = (gone(600), level(60, STARTED_S + 600.0), gone(HOUR))
    known = {
        selector: (level(660, phases[0].value or 0.0), gone(HOUR))
        for selector, phases in _known("stuck").items()
    }
    message = _full(t, "stuck", "TI-4711 is stuck") | {
        "ended": "at a new level, which counts as normal from now on, Mon 23 Nov 06:47:43 UTC"
    }
    return Case(
        title=f"{NAME}: how it ended",
        alert=NAME,
        series={
            active("stuck"): (level(660, 1.0), gone(HOUR)),
            f"gatecast_alert_ended_timestamp_seconds{{{own}}}": told,
            **known,
        },
        labels=_labels("stuck"),
        firing=(0, 600, 660 + keep_s - STEP_S),
        quiet=(660 + keep_s + 60,),
        messages={660 + keep_s // 2: [(_labels("stuck"), message)]},
    )


def _hostile(t: Thresholds) -> Case:
    """An id that would like to be a query, or a tag."""
    labels = _labels("out_of_range", HOSTILE)
    return Case(
        title=f"{NAME}: a hostile id, of which nothing else is known",
        alert=NAME,
        series={active("out_of_range", HOSTILE): (level(HOUR, 1.0),)},
        labels=labels,
        firing=(0,),
        messages={0: [(labels, _bare(t, HOSTILE, "out_of_range", "is out of range"))]},
    )
