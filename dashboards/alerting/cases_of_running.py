"""Stories that the rules about workers must stand."""

from __future__ import annotations

from dashboards.alerting.testing import STEP_S, Case, Phase, Trouble, count, gone, level, tell
from dashboards.thresholds import Thresholds

JOB = 'job="gatecast",instance="a"'


def list_cases(t: Thresholds) -> list[Case]:
    return [*_absent(t), *_unserved(t), *_checkpoint_age(t), *_checkpoint_failures(t)]


def _message(t: Thresholds, alert: str, summary: str, description: str) -> dict[str, str]:
    return {
        "summary": summary,
        "description": f"{description} Look at it: {t.links.grafana}/d/gatecast-pipeline",
        "runbook_url": f"{t.links.runbooks}/{alert}.md",
    }


def _absent(t: Thresholds) -> list[Case]:
    own, name = t.worker_absent, "GatecastWorkerAbsent"
    hold_s, keep_s = own.hold.seconds, own.keep.seconds
    labels = {"severity": "page"}
    message = _message(
        t,
        name,
        "No worker answers: nothing is forecast and no sensor can page",
        f"For {own.hold} Prometheus has reached no worker (job gatecast). Sensors' alerts are held back "
        "meanwhile: they would all seem resolved. Is the process running, and does its port answer /healthz?",
    )
    died_s, back_s = 600, 600 + hold_s + 600
    firing = (died_s + hold_s + STEP_S, back_s - STEP_S)
    quiet = (STEP_S, died_s - STEP_S, died_s + hold_s - 60, back_s + keep_s + 60)
    cases = []
    for how, away in (("it vanishes, as with discovery by DNS", None), ("it does not answer", 0.0)):
        up = (level(died_s, 1.0), Phase(seconds=back_s - died_s, value=away), level(keep_s + 600, 1.0))
        cases.append(
            Case(
                title=f"{name}: {how}",
                alert=name,
                series={f"up{{{JOB}}}": up},
                labels=labels,
                firing=firing,
                quiet=quiet,
                messages={firing[0]: [(labels, message)]},
            )
        )
    one = {
        f"up{{{JOB}}}": (level(600, 1.0), level(3000, 0.0)),
        'up{job="gatecast",instance="b"}': (level(3600, 1.0),),
    }
    cases.append(Case(title=f"{name}: another answers", alert=name, series=one, quiet=(60, 900, 3000)))
    brief = {f"up{{{JOB}}}": (level(600, 1.0), gone(hold_s - STEP_S), level(1800, 1.0))}
    at = (600, 600 + hold_s, 900 + hold_s)
    return [*cases, Case(title=f"{name}: a restart", alert=name, series=brief, quiet=at)]


def _unserved(t: Thresholds) -> list[Case]:
    own, name = t.unserved, "GatecastPartitionsUnserved"
    there, here = 'gatecast_topic_partitions{instance="a",topic="plant"}', "gatecast_partitions_assigned"
    a, b = (f'{here}{{instance="{who}",topic="plant"}}' for who in ("a", "b"))
    up = 'up{job="gatecast",instance="a"}'
    message = _message(
        t,
        name,
        "5 partitions of plant are served by nobody",
        f"For {own.hold} 5 partitions of plant have no worker: their sensors are neither forecast nor "
        "watched. 1 workers answer. Their /readyz says which shards are refused, and why.",
    )

    def served(by_b: float) -> dict[str, Phase]:
        return {there: level(0, 12.0), a: level(0, 7.0), b: level(0, by_b), up: level(0, 1.0)}

    trouble = Trouble(bad=served(0.0), good=served(5.0), onset_s=0)
    labels = {"topic": "plant", "severity": "page"}
    cases = tell(name, labels, trouble, hold_s=own.hold.seconds, keep_s=own.keep.seconds, message=message)
    # b is killed; the group waits for it, then a serves what it had.
    waits_s = own.hold.seconds // 2 // STEP_S * STEP_S
    moved = {
        there: (level(3600, 12.0),),
        a: (level(600 + waits_s, 7.0), level(3000, 12.0)),
        b: (level(600, 5.0), gone(3000)),
    }
    at = tuple(range(600, 600 + waits_s + 300, STEP_S))
    return [*cases, Case(title=f"{name}: a rebalance after a kill", alert=name, series=moved, quiet=at)]


def _checkpoint_age(t: Thresholds) -> list[Case]:
    own, name = t.checkpoint_age, "GatecastCheckpointTooOld"
    saved = f"gatecast_checkpoint_timestamp_seconds{{{JOB}}}"
    limit_s, hold_s = int(own.seconds), own.hold.seconds
    message = _message(
        t,
        name,
        "Nothing was saved for {age}",
        "A partition's last checkpoint is {age} old; "
        f"{own.seconds:g} s is the limit. A worker that dies now reads all of that again, and what the "
        "topic's retention deletes meanwhile is lost.",
    )
    read_s = -(-(limit_s + hold_s + 120) // STEP_S) * STEP_S
    age = f"{read_s // 60}m {read_s % 60}s"
    message = {key: text.replace("{age}", age) for key, text in message.items()}
    other = 'gatecast_checkpoint_timestamp_seconds{job="gatecast",instance="b"}'
    always = (level(3 * limit_s, 0.0, 1.0),)
    labels = {"job": "gatecast", "severity": "page"}
    return [
        Case(
            title=f"{name}: one of two workers saves no more",
            alert=name,
            series={saved: (level(3 * limit_s, 0.0),), other: always},
            labels=labels,
            firing=(read_s, 2 * limit_s),
            quiet=(limit_s, limit_s + hold_s - STEP_S),
            messages={read_s: [(labels, message)]},
        ),
        Case(
            title=f"{name}: both save",
            alert=name,
            series={saved: always, other: always},
            quiet=tuple(range(60, 3 * limit_s, 300)),
        ),
    ]


def _checkpoint_failures(t: Thresholds) -> list[Case]:
    own, name = t.checkpoint_failures, "GatecastCheckpointsFail"
    failures = f"gatecast_checkpoint_failures_total{{{JOB}}}"
    window_s = own.window.seconds
    labels = {"job": "gatecast", "severity": "ticket"}
    once = {failures: (level(600, 0.0), level(3 * window_s, own.count - 2))}
    rate = 2 * own.count / window_s
    begins_s, ends_s = 600, 600 + 2 * window_s
    grows = (level(begins_s, 0.0), count(2 * window_s, rate), level(2 * window_s, 2 * window_s * rate))
    message = _message(
        t,
        name,
        f"{2 * own.count:.0f} checkpoints failed",
        f"Within {own.window} {2 * own.count:.0f} checkpoints could not be written or committed. The "
        "worker's log says why: storage full or away, rights, or the broker. Learning goes on.",
    )
    full_s = begins_s + window_s + 60
    return [
        Case(
            title=f"{name}: one after the other fails",
            alert=name,
            series={failures: grows},
            labels=labels,
            firing=(full_s, ends_s, ends_s + own.keep.seconds),
            quiet=(begins_s, begins_s + 60, ends_s + window_s + own.keep.seconds + 60),
            messages={full_s: [(labels, message)]},
        ),
        Case(
            title=f"{name}: fewer than {own.count:g}",
            alert=name,
            series=once,
            quiet=tuple(range(60, 600 + 3 * window_s, 300)),
        ),
    ]
