"""The one rule about sensors, and what a person who is woken by it gets to read.

The worker has decided: the rule compares no score. Neither instance nor partition is kept, so that an episode
that moves to another worker is the same alert and no second mail.
"""

from __future__ import annotations

from dashboards.alerting.rules import Alert, Group
from dashboards.alerting.templates import NUMBER, TIME, ask, ask_each
from dashboards.thresholds import Thresholds

LABELS = ("site", "area", "owner", "severity", "series", "kind")
HISTORY_S = 6 * 3600
"""Before the episode: so far back do links to a panel reach."""
MOST_OTHERS = 8
"""Of the same area that a message lists."""
CHAMPIONS = ("blend", "linear", "lstm", "gru", "rnn")
"""Whose forecast a message shows: the first of these that is exported for the series
(`metrics.series_forecasters` says which are), else that of any other."""


def build_group(t: Thresholds) -> Group:
    alert = Alert(
        name="GatecastSensorAlert",
        expr=f"max by ({', '.join(LABELS)}) (gatecast_alert_active) == 1",
        severity=None,
        keep=t.sensor_alert.keep,
        summary=_summary(),
        description=_description(t),
        annotations={
            "name": _name(),
            "value": _value(),
            "expected": _expected(),
            "score": _score(t),
            "quality": ask(
                "gatecast_series_quality{series=%q} == 1", "series", then='{{ label "quality" $s }}'
            ),
            "learned": ask(
                "max(gatecast_series_readings_learned{series=%q})",
                "series",
                then='{{ printf "%.0f" $v }} readings',
            ),
            "since": ask(
                "min(gatecast_alert_started_timestamp_seconds{series=%q,kind=%q})",
                "series",
                "kind",
                then=TIME,
            ),
            "ended": _ended(),
            "others": _others(),
            "dashboard_url": _dashboard_url(t),
            "silence_filter": '{{ printf "{series=%q,kind=%q}" $labels.series $labels.kind | urlquery'
            ' | reReplaceAll "\\\\+" "%20" }}',
        },
    )
    # Evaluated twice as often as scraped: what a scrape brings waits for half an interval at most.
    return Group(name="gatecast-sensors", interval="5s", rules=(alert,))


def _name() -> str:
    """As the series file has it, else the id."""
    return ask(
        "gatecast_series_info{series=%q}",
        "series",
        then='{{ label "name" $s }}',
        otherwise="{{ $labels.series }}",
    )


def _unit() -> str:
    return ask('gatecast_series_info{series=%q,unit!=""}', "series", then=' {{ label "unit" $s }}')


def _forecast(metric: str) -> str:
    """The champion's, at one step: what was said a step ago about now."""
    ranked = [
        f'max by (series) (gatecast_series_{metric}{{series=%[1]q,step="1",forecaster="{name}"}})'
        for name in CHAMPIONS
    ]
    return " or ".join([*ranked, f'max by (series) (gatecast_series_{metric}{{series=%[1]q,step="1"}})'])


def _summary() -> str:
    """What is wrong, in a few words that stay true while it lasts."""
    higher = f"max by (series) (gatecast_series_value{{series=%[1]q}}) > ({_forecast('forecast')})"
    lower = f"max by (series) (gatecast_series_value{{series=%[1]q}}) < ({_forecast('forecast')})"
    side = ask(
        higher,
        "series",
        then="above expected",
        otherwise=ask(lower, "series", then="below expected", otherwise="not as expected"),
    )
    words = {
        "silent": "is silent",
        "stuck": "is stuck",
        "bad_quality": "delivers nothing usable",
        "out_of_range": "is out of range",
    }
    text = '{{ if eq $labels.kind "anomaly" }}' + side
    for kind, said in words.items():
        text += f'{{{{ else if eq $labels.kind "{kind}" }}}}{said}'
    return f"{_name()} {text}{{{{ else }}}}{{{{ $labels.kind }}}}{{{{ end }}}}"


def _value() -> str:
    return ask("max(gatecast_series_value{series=%q})", "series", then=NUMBER + _unit())


def _expected() -> str:
    """With its interval."""
    low, high = (ask(_forecast(side), "series", then=NUMBER) for side in ("lower", "upper"))
    return ask(_forecast("forecast"), "series", then=f"{NUMBER}{_unit()} ({low} … {high})")


def _score(t: Thresholds) -> str:
    said = f'{{{{ printf "%.2f" $v }}}}; {t.score.page:.1f} pages'
    return ask("max(gatecast_series_score{series=%q})", "series", then=said)


def _ended() -> str:
    """How and when. It is shown for a minute before the alert goes, and an alert that has ended keeps the
    annotations that it had last."""
    words = {
        "recovered": "back to normal",
        "shifted": "at a new level, which counts as normal from now on",
        "retired": "the series was given up after a long silence",
    }
    cases = [f'eq (label "resolution" $s) "{word}" }}}}{said}' for word, said in words.items()]
    how = "{{ if " + "{{ else if ".join(cases) + '{{ else }}{{ label "resolution" $s }}{{ end }}'
    return ask(
        "gatecast_alert_ended_timestamp_seconds{series=%q,kind=%q}", "series", "kind", then=f"{how}, {TIME}"
    )


def _others() -> str:
    """What else fires in the same area, by id and kind."""
    query = (
        f"topk({MOST_OTHERS}, max by (series, kind) "
        "(gatecast_alert_active{site=%q,area=%q,series!=%q} == 1))"
    )
    return ask_each(
        query,
        "site",
        "area",
        "series",
        each='{{ label "series" $s }} ({{ label "kind" $s | reReplaceAll "_" " " }})',
    )


def _dashboard_url(t: Thresholds) -> str:
    start = ask(
        f"min(gatecast_alert_started_timestamp_seconds{{series=%q,kind=%q}}) - {HISTORY_S}",
        "series",
        "kind",
        then='&from={{ printf "%.0f" $v }}000&to=now',
        otherwise="&from=now-6h&to=now",
    )
    series = '{{ urlquery $labels.series | reReplaceAll "\\\\+" "%20" }}'
    return f"{t.links.grafana}/d/gatecast-series?var-series={series}{start}"


def _description(t: Thresholds) -> str:
    value = ask("max(gatecast_series_value{series=%q})", "series", then=f" is at {NUMBER}{_unit()};")
    return (
        f"Series {{{{ $labels.series }}}}{value} kind {{{{ $labels.kind }}}}, "
        f"owner {{{{ or $labels.owner `not named` }}}}. Look at it: {_dashboard_url(t)}"
    )
