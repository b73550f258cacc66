"""Rules about forecasters: intervals that lie, networks that bring nothing, training that fails."""

from __future__ import annotations

from dashboards.alerting.rules import Alert, Group
from dashboards.alerting.templates import NUMBER, PERCENT, ask
from dashboards.thresholds import Thresholds

NETWORKS = "rnn|lstm|gru"


def build_group(t: Thresholds) -> Group:
    rules = (_miscoverage(t), _worse_than_naive(t), _skipped(t), _exploding(t))
    return Group(name="gatecast-models", interval="30s", rules=rules)


def _look(t: Thresholds, uid: str) -> str:
    return f"Look at it: {t.links.grafana}/d/{uid}"


def _miscoverage(t: Thresholds) -> Alert:
    own = t.interval_misses
    share = "gatecast:forecast_interval_misses:ratio_rate"
    scored = f"sum by (forecaster, step) (increase(gatecast_forecasts_scored_total[{own.window}]))"
    return Alert(
        name="GatecastIntervalsMiscovered",
        expr=f"({share} < {own.low:g} or {share} > {own.high:g}) and {scored} >= {own.fewest:g}",
        severity="ticket",
        hold=own.hold,
        keep=own.keep,
        summary=f"Intervals of {{{{ $labels.forecaster }}}} at step {{{{ $labels.step }}}} miss {PERCENT} "
        f"of readings, not {own.nominal:.0%}",
        description=f"Over {own.window} {PERCENT} of readings lay outside of the intervals that "
        f"{{{{ $labels.forecaster }}}} gave {{{{ $labels.step }}}} steps ahead; {own.low:.0%} to "
        f"{own.high:.0%} is told to nobody. More is too narrow, fewer too wide. "
        f"{_look(t, 'gatecast-comparison')}",
    )


def _worse_than_naive(t: Thresholds) -> Alert:
    own = t.networks
    skill = f'gatecast:forecast_skill:ratio{{forecaster=~"{NETWORKS}"}}'
    return Alert(
        name="GatecastNetworksWorseThanNaive",
        expr=f"max by (step) ({skill}) < {own.skill:g}",
        severity="ticket",
        hold=own.hold,
        keep=own.keep,
        summary="All networks are worse than the last value, {{ $labels.step }} steps ahead",
        description=f"The best network's skill is {{{{ $value | printf `%.3f` }}}} at step {{{{ $labels.step "
        f"}}}}, for {own.hold} below {own.skill:g}: forecasting the last value would have been better. "
        f"{_look(t, 'gatecast-comparison')}",
    )


def _skipped(t: Thresholds) -> Alert:
    own = t.training_skipped
    return Alert(
        name="GatecastTrainingSkipped",
        expr=f"gatecast:training_skipped:ratio_rate > {own.ratio:g}",
        severity="ticket",
        hold=own.hold,
        keep=own.keep,
        summary=f"{{{{ $labels.forecaster }}}} skips {PERCENT} of its training steps",
        description=f"Of the training steps of {{{{ $labels.forecaster }}}} {PERCENT} had a loss or gradient "
        f"that was not finite, over {own.window}; {own.ratio:.0%} is the limit. They did not reach the "
        f"weights, but nothing is learnt from them. {_look(t, 'gatecast-comparison')}",
    )


def _exploding(t: Thresholds) -> Alert:
    own = t.gradient_norm
    loss = ask(
        "max(gatecast_training_loss{forecaster=%q})", "forecaster", then=f" Its newest loss is {NUMBER}."
    )
    return Alert(
        name="GatecastGradientsExplode",
        expr=f"gatecast:training_gradient_norm:p90 > {own.norm:g}",
        severity="ticket",
        hold=own.hold,
        keep=own.keep,
        summary="Gradients of {{ $labels.forecaster }} explode: norm {{ $value | printf `%.0f` }}",
        description="One in ten gradients of {{ $labels.forecaster }} has a norm above "
        f"{{{{ $value | printf `%.0f` }}}} before it is clipped at 1, over {own.window}; {own.norm:g} is the "
        f"limit.{loss} {_look(t, 'gatecast-comparison')}",
    )
