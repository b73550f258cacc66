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
            "quality": _quality(),
            "learned": _ask("max", "alert_readings_learned", then='{{ printf "%.0f" $v }} readings'),
            "now": ask("max(gatecast_series_value{series=%q})", "series", then=NUMBER + _unit()),
            "since": _ask("min", "alert_started_timestamp_seconds", then=TIME),
            "ended": _ended(),
            "others": _others(),
            "dashboard_url": _dashboard_url(t),
            "silence_filter": '{{ printf "{series=%q,kind=%q}" $labels.series $labels.kind | urlquery'
            ' | reReplaceAll "\\\\+" "%20" }}',
        },
    )
    # Evaluated twice as often as scraped: what a scrape brings waits for half an interval at most.
    return Group(name="gatecast-sensors", interval="5s", rules=(alert,))


def _ask(how: str, metric: str, then: str, otherwise: str = "") -> str:
    """Of this episode; max or min because two workers may show it while it moves."""
    query = f"{how}(gatecast_{metric}{{series=%q,kind=%q}})"
    return ask(query, "series", "kind", then=then, otherwise=otherwise)


def _info(label: str, then: str, otherwise: str = "") -> str:
    """What the series file says; of episodes without details, what it says of shown series."""
    known = f'{{series=%[1]q,{label}!=""}}'
    query = f"gatecast_alert_info{known} or gatecast_series_info{known}"
    return ask(query, "series", then=then, otherwise=otherwise)


def _name() -> str:
    """As the series file has it, else the id."""
    return _info("name", '{{ label "name" $s }}', otherwise="{{ $labels.series }}")


def _unit() -> str:
    return _info("unit", ' {{ label "unit" $s }}')


def _summary() -> str:
    """What is wrong, in a few words that stay true while it lasts."""
    value, expected = (f"gatecast_alert_{name}{{series=%[1]q,kind=%[2]q}}" for name in ("value", "expected"))
    side = ask(
        f"max({value}) > max({expected})",
        "series",
        "kind",
        then="above expected",
        otherwise=ask(
            f"max({value}) < max({expected})",
            "series",
            "kind",
            then="below expected",
            otherwise="not as expected",
        ),
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
    """With which the episode began."""
    return _ask("max", "alert_value", then=NUMBER + _unit())


def _expected() -> str:
    """By the champion, with its interval; without a forecast, the range that is allowed."""
    low, high = _ask("max", "alert_lower", then=NUMBER), _ask("max", "alert_upper", then=NUMBER)
    interval = f" ({low} … {high})"
    allowed = _ask("max", "alert_upper", then=f"{low} … {NUMBER}{_unit()}")
    return _ask("max", "alert_expected", then=f"{NUMBER}{_unit()}{interval}", otherwise=allowed)


def _score(t: Thresholds) -> str:
    said = f'{{{{ printf "%.2f" $v }}}}; {t.score.page:.1f} pages'
    return _ask("max", "alert_score", then=said)


def _quality() -> str:
    """Of its newest step; only good readings are scored, so an anomaly's is good."""
    anomaly = '{{ if eq $labels.kind "anomaly" }}good{{ end }}'
    return ask(
        "gatecast_series_quality{series=%q} == 1",
        "series",
        then='{{ label "quality" $s | reReplaceAll "_" " " }}',
        otherwise=anomaly,
    )


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
    value = _ask("max", "alert_value", then=f" is at {NUMBER}{_unit()};")
    return (
        f"Series {{{{ $labels.series }}}}{value} kind {{{{ $labels.kind }}}}, "
        f"owner {{{{ or $labels.owner `not named` }}}}. Look at it: {_dashboard_url(t)}"
    )
