"""Stories that the rules about readings must stand."""

from __future__ import annotations

from dashboards.alerting.testing import STEP_S, Case, Phase, Trouble, count, level, tell
from dashboards.thresholds import Thresholds

JOB = 'job="gatecast",instance="a"'
SHARD = 'instance="a",topic="plant",partition="3"'


def list_cases(t: Thresholds) -> list[Case]:
    return [
        *_rejected(t), *_lost(t), *_dead_letters(t), *_dropped(t), *_lag(t), *_late(t), *_stalled(t)
    ]  # fmt: skip


def _message(t: Thresholds, alert: str, summary: str, description: str) -> dict[str, str]:
    return {
        "summary": summary,
        "description": f"{description} Look at it: {t.links.grafana}/d/gatecast-pipeline",
        "runbook_url": f"{t.links.runbooks}/{alert}.md",
    }


def _rejected(t: Thresholds) -> list[Case]:
    own, name = t.rejected, "GatecastReadingsRejected"

    def fates(ratio: float) -> dict[str, Phase]:
        return {
            f'gatecast_readings_consumed_total{{{JOB},topic="plant",partition="3"}}': count(
                0, 100 * (1 - ratio)
            ),
            f'gatecast_readings_rejected_total{{{JOB},reason="bad_time"}}': count(0, 100 * ratio),
            f'gatecast_readings_rejected_total{{{JOB},reason="no_series"}}': count(0, 0.0),
        }

    found = f"{own.ratio * 200:g}%"
    # Read a minute after it fires: the window may not be full yet.
    at = STEP_S + own.hold.seconds + 60
    rise = min(at, own.window.seconds) * 100 * own.ratio * 2
    message = _message(
        t,
        name,
        f"{found} of readings are rejected",
        f"Over {own.window} {found} of what came could not be decoded or placed; {own.ratio:.0%} is the "
        f"limit. Most often: bad_time ({rise:.0f}). The messages lie in the dead-letter topic with their "
        "reasons as headers.",
    )
    trouble = Trouble(
        bad=fates(own.ratio * 2), good=fates(own.ratio / 2), onset_s=STEP_S, fades_s=own.window.seconds
    )
    labels = {"job": "gatecast", "severity": "ticket"}
    return tell(name, labels, trouble, hold_s=own.hold.seconds, keep_s=own.keep.seconds, message=message)


def _rises(
    name: str, counter: str, labels: dict[str, str], window_s: int, message: dict[str, str]
) -> list[Case]:
    """A counter that rises by 37 once; one that was at 37 when it was first seen; one that only stands."""
    later_s = 3 * window_s
    at = 1800
    jump = (level(at, 0.0), level(later_s, 37.0))
    over_s = at + 2 * window_s + 120
    return [
        Case(
            title=f"{name}: it rises once",
            alert=name,
            series={counter: jump},
            labels=labels,
            firing=(at + STEP_S, at + window_s // 2, at + window_s),
            quiet=(STEP_S, at - STEP_S, over_s),
        ),
        Case(
            title=f"{name}: it had risen before it was first seen",
            alert=name,
            series={counter: (level(later_s, 37.0),)},
            labels=labels,
            firing=(STEP_S, window_s - STEP_S),
            quiet=(2 * window_s + 120,),
            messages={STEP_S: [(labels, message)]},
        ),
        Case(
            title=f"{name}: a worker starts anew",
            alert=name,
            series={counter: (level(600, 0.0), level(0, 0.0), level(later_s, 0.0))},
            quiet=(60, 600, 900, later_s),
        ),
    ]


def _lost(t: Thresholds) -> list[Case]:
    name = "GatecastReadingsLost"
    message = _message(
        t,
        name,
        "Records of plant/3 expired before they were read",
        "37 records of plant, partition 3, were deleted by the broker before a worker read them: retention "
        "is shorter than what the workers lag behind. They are a gap and can't be had back.",
    )
    labels = {"topic": "plant", "partition": "3", "severity": "page"}
    return _rises(name, f"gatecast_readings_lost_total{{{SHARD}}}", labels, t.lost.window.seconds, message)


def _dead_letters(t: Thresholds) -> list[Case]:
    name = "GatecastDeadLettersFailed"
    message = _message(
        t,
        name,
        "37 dead letters could not be written",
        "37 rejected messages could not be written to the dead-letter topic and are lost but for the "
        "worker's log. Does the topic exist, may the worker write?",
    )
    counter = f"gatecast_dead_letters_failed_total{{{JOB}}}"
    labels = {"job": "gatecast", "severity": "ticket"}
    return _rises(name, counter, labels, t.dead_letters.window.seconds, message)


def _dropped(t: Thresholds) -> list[Case]:
    name = "GatecastAlertsDropped"
    message = _message(
        t,
        name,
        "More sensors page than can be told: 37 left out",
        "37 episodes began to page while a worker had 500 already; they stand in the alerts topic and in no "
        "message. Something happened to a whole plant.",
    )
    counter = f"gatecast_alerts_dropped_total{{{JOB}}}"
    labels = {"job": "gatecast", "severity": "page"}
    return _rises(name, counter, labels, t.alerts_dropped.window.seconds, message)


def _lag(t: Thresholds) -> list[Case]:
    own, name = t.lag, "GatecastConsumerLag"
    lag = f"gatecast_consumer_lag_records{{{SHARD}}}"
    many = own.records * 2
    message = _message(
        t,
        name,
        f"{many:.0f} records wait in plant/3, and don't become fewer",
        f"{many:.0f} records of plant, partition 3, have no forecast yet, and over {own.window} they did not "
        f"become fewer; {own.records:g} is the limit. Forecasts and alerts come late by as much.",
    )
    labels = {"topic": "plant", "partition": "3", "severity": "ticket"}
    stands = Trouble(bad={lag: level(0, many)}, good={lag: level(0, 5.0)}, onset_s=STEP_S, fades_s=STEP_S)
    cases = tell(name, labels, stands, hold_s=own.hold.seconds, keep_s=own.keep.seconds, message=message)
    drains = {lag: (level(1800, many * 10, -many / 1000),)}
    at = tuple(range(60, 1800, 200))
    return [*cases, Case(title=f"{name}: after an outage it drains", alert=name, series=drains, quiet=at)]


def _late(t: Thresholds) -> list[Case]:
    own, name = t.latency, "GatecastForecastsLate"
    bucket = f'gatecast_forecast_latency_seconds_bucket{{{JOB},le="%s"}}'

    def latencies(within_30_s: float) -> dict[str, Phase]:
        rates = {"0.25": within_30_s / 2, "30.0": within_30_s, "60.0": 1.0, "+Inf": 1.0}
        return {bucket % le: count(0, 100 * rate) for le, rate in rates.items()}

    # Half of them take 30 to 60 s: the 99th percentile is 98 % of the way.
    message = _message(
        t,
        name,
        "Forecasts come 59.4s after their readings",
        f"One in a hundred forecasts comes 59.4s or more after its reading reached the broker, over "
        f"{own.window}; {own.seconds:g} s is the limit.",
    )
    trouble = Trouble(bad=latencies(0.5), good=latencies(1.0), onset_s=STEP_S, fades_s=own.window.seconds)
    labels = {"job": "gatecast", "severity": "ticket"}
    return tell(name, labels, trouble, hold_s=own.hold.seconds, keep_s=own.keep.seconds, message=message)


def _stalled(t: Thresholds) -> list[Case]:
    own, name = t.stalled, "GatecastWorkerStalled"
    consumed = f"gatecast_readings_consumed_total{{{SHARD}}}"
    lag = f"gatecast_consumer_lag_records{{{SHARD}}}"

    def state(rate: float, waiting: float) -> dict[str, Phase]:
        return {consumed: count(0, rate), lag: level(0, waiting)}

    message = _message(
        t,
        name,
        "Nothing is read from plant/3, though records wait",
        f"No reading of plant, partition 3, was taken for {own.window}, and records wait there. /readyz of "
        "the worker that serves it says why.",
    )
    trouble = Trouble(
        bad=state(0.0, 12.0), good=state(10.0, 12.0), onset_s=STEP_S, fades_s=own.window.seconds
    )
    labels = {"topic": "plant", "partition": "3", "severity": "page"}
    cases = tell(name, labels, trouble, hold_s=own.hold.seconds, keep_s=own.keep.seconds, message=message)
    rest = {selector: (Phase(seconds=3600, value=0.0),) for selector in (consumed, lag)}
    at = (300, 900, 3000)
    return [*cases, Case(title=f"{name}: a plant at rest sends nothing", alert=name, series=rest, quiet=at)]
