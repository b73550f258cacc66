"""Rules about readings: rejected, lost, late, waiting; and about what can't be told any more."""

from __future__ import annotations

from dashboards.alerting.rules import Alert, Group
from dashboards.alerting.templates import PERCENT, ask_each
from dashboards.thresholds import Thresholds


def build_group(t: Thresholds) -> Group:
    rules = (
        _rejected(t),
        _lost(t),
        _dead_letters(t),
        _lag(t),
        _late(t),
        _stalled(t),
        _alerts_dropped(t),
    )
    return Group(name="gatecast-intake", interval="15s", rules=rules)


def rose(counter: str, by: str, window: str) -> str:
    """How much a counter rose within a window; what it had when it was first seen counts too, for a worker
    may have counted before it was first scraped."""
    increase = f"sum by ({by}) (increase({counter}[{window}])) > 0"
    return f"{increase} or sum by ({by}) ({counter} unless {counter} offset {window}) > 0"


def _look(t: Thresholds) -> str:
    return f"Look at it: {t.links.grafana}/d/gatecast-pipeline"


def _rejected(t: Thresholds) -> Alert:
    own = t.rejected
    reasons = ask_each(
        f"topk(3, sum by (reason) (increase(gatecast_readings_rejected_total[{own.window}])) > 0)",
        each='{{ label "reason" $s }} ({{ value $s | printf "%.0f" }})',
    )
    return Alert(
        name="GatecastReadingsRejected",
        expr=f"gatecast:readings_rejected:ratio_rate > {own.ratio:g}",
        severity="ticket",
        hold=own.hold,
        keep=own.keep,
        summary=f"{PERCENT} of readings are rejected",
        description=f"Over {own.window} {PERCENT} of what came could not be decoded or placed; "
        f"{own.ratio:.0%} is the limit. Most often: {reasons}. The messages lie in the dead-letter topic "
        f"with their reasons as headers. {_look(t)}",
    )


def _lost(t: Thresholds) -> Alert:
    own = t.lost
    return Alert(
        name="GatecastReadingsLost",
        expr=rose("gatecast_readings_lost_total", "topic, partition", own.window),
        severity="page",
        keep=own.window,
        summary="Records of {{ $labels.topic }}/{{ $labels.partition }} expired before they were read",
        description="{{ $value | printf `%.0f` }} records of {{ $labels.topic }}, partition "
        "{{ $labels.partition }}, were deleted by the broker before a worker read them: retention is shorter "
        f"than what the workers lag behind. They are a gap and can't be had back. {_look(t)}",
    )


def _dead_letters(t: Thresholds) -> Alert:
    own = t.dead_letters
    return Alert(
        name="GatecastDeadLettersFailed",
        expr=rose("gatecast_dead_letters_failed_total", "job", own.window),
        severity="ticket",
        keep=own.window,
        summary="{{ $value | printf `%.0f` }} dead letters could not be written",
        description="{{ $value | printf `%.0f` }} rejected messages could not be written to the dead-letter "
        "topic and are lost but for the worker's log. Does the topic exist, may the worker write? "
        f"{_look(t)}",
    )


def _lag(t: Thresholds) -> Alert:
    own = t.lag
    lag = "gatecast:consumer_lag_records:max"
    return Alert(
        name="GatecastConsumerLag",
        expr=f"{lag} > {own.records:g} and deriv({lag}[{own.window}]) >= 0",
        severity="ticket",
        hold=own.hold,
        keep=own.keep,
        summary="{{ $value | printf `%.0f` }} records wait in {{ $labels.topic }}/{{ $labels.partition }}, "
        "and don't become fewer",
        description="{{ $value | printf `%.0f` }} records of {{ $labels.topic }}, partition "
        f"{{{{ $labels.partition }}}}, have no forecast yet, and over {own.window} they did not become "
        f"fewer; {own.records:g} is the limit. Forecasts and alerts come late by as much. {_look(t)}",
    )


def _late(t: Thresholds) -> Alert:
    own = t.latency
    return Alert(
        name="GatecastForecastsLate",
        expr=f"gatecast:forecast_latency_seconds:p99 > {own.seconds:g}",
        severity="ticket",
        hold=own.hold,
        keep=own.keep,
        summary="Forecasts come {{ $value | humanizeDuration }} after their readings",
        description="One in a hundred forecasts comes {{ $value | humanizeDuration }} or more after its "
        f"reading reached the broker, over {own.window}; {own.seconds:g} s is the limit. {_look(t)}",
    )


def _stalled(t: Thresholds) -> Alert:
    own = t.stalled
    return Alert(
        name="GatecastWorkerStalled",
        expr="gatecast:readings_consumed:rate == 0 and gatecast:consumer_lag_records:max > 0",
        severity="page",
        hold=own.hold,
        keep=own.keep,
        summary="Nothing is read from {{ $labels.topic }}/{{ $labels.partition }}, though records wait",
        description="No reading of {{ $labels.topic }}, partition {{ $labels.partition }}, was taken for "
        f"{own.window}, and records wait there. /readyz of the worker that serves it says why. {_look(t)}",
    )


def _alerts_dropped(t: Thresholds) -> Alert:
    own = t.alerts_dropped
    return Alert(
        name="GatecastAlertsDropped",
        expr=rose("gatecast_alerts_dropped_total", "job", own.window),
        severity="page",
        keep=own.window,
        summary="More sensors page than can be told: {{ $value | printf `%.0f` }} left out",
        description="{{ $value | printf `%.0f` }} episodes began to page while a worker had 500 already; "
        f"they stand in the alerts topic and in no message. Something happened to a whole plant. {_look(t)}",
    )
