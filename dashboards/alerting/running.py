"""Rules about workers: none there, partitions that nobody serves, state that is not saved."""

from __future__ import annotations

from dashboards.alerting.rules import JOB, Alert, Group
from dashboards.alerting.templates import ask
from dashboards.thresholds import Thresholds


def build_group(t: Thresholds) -> Group:
    rules = (_absent(t), _unserved(t), _checkpoint_age(t), _checkpoint_failures(t))
    return Group(name="gatecast-running", interval="15s", rules=rules)


def _look(t: Thresholds) -> str:
    return f"Look at it: {t.links.grafana}/d/gatecast-pipeline"


def _absent(t: Thresholds) -> Alert:
    """With discovery by DNS a dead worker vanishes, and `up == 0` would never fire."""
    own = t.worker_absent
    return Alert(
        name="GatecastWorkerAbsent",
        expr=f'absent(up{{job="{JOB}"}} == 1)',
        severity="page",
        hold=own.hold,
        keep=own.keep,
        summary="No worker answers: nothing is forecast and no sensor can page",
        description=f"For {own.hold} Prometheus has reached no worker (job {JOB}). Sensors' alerts are held "
        "back meanwhile: they would all seem resolved. Is the process running, and does its port answer "
        f"/healthz? {_look(t)}",
    )


def _unserved(t: Thresholds) -> Alert:
    own = t.unserved
    workers = ask("gatecast:workers:count", then='{{ printf "%.0f" $v }} workers answer. ')
    return Alert(
        name="GatecastPartitionsUnserved",
        expr="gatecast:partitions_unserved:count > 0",
        severity="page",
        hold=own.hold,
        keep=own.keep,
        summary="{{ $value | printf `%.0f` }} partitions of {{ $labels.topic }} are served by nobody",
        description="For "
        + own.hold
        + " {{ $value | printf `%.0f` }} partitions of {{ $labels.topic }} have no "
        f"worker: their sensors are neither forecast nor watched. {workers}Their /readyz says which shards "
        f"are refused, and why. {_look(t)}",
    )


def _checkpoint_age(t: Thresholds) -> Alert:
    own = t.checkpoint_age
    return Alert(
        name="GatecastCheckpointTooOld",
        expr=f"gatecast:checkpoint_age_seconds:max > {own.seconds:g}",
        severity="page",
        hold=own.hold,
        keep=own.keep,
        summary="Nothing was saved for {{ $value | humanizeDuration }}",
        description="A partition's last checkpoint is {{ $value | humanizeDuration }} old; "
        f"{own.seconds:g} s is the limit. A worker that dies now reads all of that again, and what the "
        f"topic's retention deletes meanwhile is lost. {_look(t)}",
    )


def _checkpoint_failures(t: Thresholds) -> Alert:
    own = t.checkpoint_failures
    return Alert(
        name="GatecastCheckpointsFail",
        expr=f"sum by (job) (increase(gatecast_checkpoint_failures_total[{own.window}])) >= {own.count:g}",
        severity="ticket",
        keep=own.keep,
        summary="{{ $value | printf `%.0f` }} checkpoints failed",
        description=f"Within {own.window} {{{{ $value | printf `%.0f` }}}} checkpoints could not be written "
        "or committed. The worker's log says why: storage full or away, rights, or the broker. Learning goes "
        f"on. {_look(t)}",
    )
