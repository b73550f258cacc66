"""Stories that the rules about forecasters must stand."""

from __future__ import annotations

from dashboards.alerting.testing import STEP_S, Case, Phase, Trouble, count, level, tell
from dashboards.thresholds import Thresholds

LSTM = 'instance="a",forecaster="lstm"'


def list_cases(t: Thresholds) -> list[Case]:
    return [*_miscoverage(t), *_worse_than_naive(t), *_skipped(t), *_exploding(t), _fleet()]


def _links(t: Thresholds, alert: str) -> tuple[str, str]:
    return f"Look at it: {t.links.grafana}/d/gatecast-comparison", f"{t.links.runbooks}/{alert}.md"


def _miscoverage(t: Thresholds) -> list[Case]:
    own, name = t.interval_misses, "GatecastIntervalsMiscovered"
    scored = f'gatecast_forecasts_scored_total{{{LSTM},step="1"}}'
    below = f'gatecast_forecast_interval_misses_total{{{LSTM},step="1",side="below"}}'
    above = f'gatecast_forecast_interval_misses_total{{{LSTM},step="1",side="above"}}'
    many = 200.0 * own.fewest / own.window.seconds

    def misses(ratio: float) -> dict[str, Phase]:
        return {
            scored: count(0, many),
            below: count(0, many * ratio / 4),
            above: count(0, many * ratio * 3 / 4),
        }

    look, runbook = _links(t, name)
    found = f"{own.high * 1.2:.0%}"
    message = {
        "summary": f"Intervals of lstm at step 1 miss {found} of readings, not {own.nominal:.0%}",
        "description": f"Over {own.window} {found} of readings lay outside of the intervals that lstm gave 1 "
        f"steps ahead; {own.low:.0%} to {own.high:.0%} is told to nobody. More is too narrow, fewer too "
        f"wide. {look}",
        "runbook_url": runbook,
    }
    labels = {"forecaster": "lstm", "step": "1", "severity": "ticket"}
    cases = []
    for ratio, said in ((own.high * 1.2, message), (own.low * 0.8, None)):
        trouble = Trouble(
            bad=misses(ratio), good=misses(own.nominal), onset_s=STEP_S, fades_s=own.window.seconds
        )
        told = tell(name, labels, trouble, hold_s=own.hold.seconds, keep_s=own.keep.seconds, message=said)
        cases += told if said else told[:1]
    few = own.fewest / own.window.seconds / 2
    rare = {scored: (count(4 * own.window.seconds, few),), above: (count(4 * own.window.seconds, few),)}
    at = tuple(range(600, 4 * own.window.seconds, 1800))
    cases.append(Case(title=f"{name}: too few forecasts to say so", alert=name, series=rare, quiet=at))
    return cases


def _worse_than_naive(t: Thresholds) -> list[Case]:
    own, name = t.networks, "GatecastNetworksWorseThanNaive"

    def errors(best: float) -> dict[str, Phase]:
        """Two workers; a network's skill over both is `best`, the other network's less."""
        sums = {"naive": 100.0, "lstm": 100.0 * (1 - best), "rnn": 100.0 * (1 - best) + 5, "linear": 50.0}
        return {
            f'gatecast_forecast_error_over_series{{instance="{who}",forecaster="{name}",step="8"}}': level(
                0, s
            )
            for who in ("a", "b")
            for name, s in sums.items()
        }

    look, runbook = _links(t, name)
    message = {
        "summary": "All networks are worse than the last value, 8 steps ahead",
        "description": f"The best network's skill is {own.skill * 1.5:.3f} at step 8, for {own.hold} below "
        f"{own.skill:g}: forecasting the last value would have been better. {look}",
        "runbook_url": runbook,
    }
    trouble = Trouble(bad=errors(own.skill * 1.5), good=errors(own.skill * 0.5), onset_s=0)
    labels = {"step": "8", "severity": "ticket"}
    return tell(name, labels, trouble, hold_s=own.hold.seconds, keep_s=own.keep.seconds, message=message)


def _skipped(t: Thresholds) -> list[Case]:
    own, name = t.training_skipped, "GatecastTrainingSkipped"

    def steps(ratio: float) -> dict[str, Phase]:
        shares = {"applied": 0.9 - ratio, "clipped": 0.1, "skipped": ratio}
        return {
            f'gatecast_training_steps_total{{{LSTM},result="{result}"}}': count(0, 10 * share)
            for result, share in shares.items()
        }

    look, runbook = _links(t, name)
    found = f"{own.ratio * 200:g}%"
    message = {
        "summary": f"lstm skips {found} of its training steps",
        "description": f"Of the training steps of lstm {found} had a loss or gradient that was not finite, "
        f"over {own.window}; {own.ratio:.0%} is the limit. They did not reach the weights, but nothing is "
        f"learnt from them. {look}",
        "runbook_url": runbook,
    }
    trouble = Trouble(bad=steps(own.ratio * 2), good=steps(0.0), onset_s=STEP_S, fades_s=own.window.seconds)
    labels = {"forecaster": "lstm", "severity": "ticket"}
    return tell(name, labels, trouble, hold_s=own.hold.seconds, keep_s=own.keep.seconds, message=message)


def _exploding(t: Thresholds) -> list[Case]:
    own, name = t.gradient_norm, "GatecastGradientsExplode"
    bucket = f'gatecast_training_gradient_norm_bucket{{{LSTM},le="%s"}}'

    def norms(below_1: float, below_30: float) -> dict[str, Phase]:
        rates = {"1.0": below_1, "30.0": below_30, "1000.0": 1.0, "+Inf": 1.0}
        found: dict[str, Phase] = {bucket % le: count(0, 10 * rate) for le, rate in rates.items()}
        found['gatecast_training_loss{instance="a",forecaster="lstm"}'] = level(0, 0.75)
        return found

    look, runbook = _links(t, name)
    # Half of the norms lie in 30 … 1 000: the 90th percentile is four fifths of the way.
    message = {
        "summary": "Gradients of lstm explode: norm 806",
        "description": "One in ten gradients of lstm has a norm above 806 before it is clipped at 1, over "
        f"{own.window}; {own.norm:g} is the limit. Its newest loss is 0.75. {look}",
        "runbook_url": runbook,
    }
    trouble = Trouble(bad=norms(0.4, 0.5), good=norms(0.95, 1.0), onset_s=STEP_S, fades_s=own.window.seconds)
    labels = {"forecaster": "lstm", "severity": "ticket"}
    return tell(name, labels, trouble, hold_s=own.hold.seconds, keep_s=own.keep.seconds, message=message)


def _fleet() -> Case:
    """Two workers, one with three series and one with three hundred: figures are those of all 303."""
    hour = 3600 + STEP_S
    told = {"a": (3, {"naive": 6.0, "lstm": 9.0}), "b": (300, {"naive": 300.0, "lstm": 210.0})}
    series = {}
    for who, (number, errors) in told.items():
        series[f'gatecast_forecast_scored_series{{instance="{who}",step="1"}}'] = (level(hour, number),)
        for name, total in errors.items():
            selector = f'{{instance="{who}",forecaster="{name}",step="1"}}'
            series[f"gatecast_forecast_error_over_series{selector}"] = (level(hour, total),)
            series[f"gatecast_forecasts_scored_total{selector}"] = (count(hour, number),)
            missed = selector.replace("}", ',side="above"}')
            share = 0.5 if who == "a" else 0.1
            series[f"gatecast_forecast_interval_misses_total{missed}"] = (count(hour, number * share),)
    return Case(
        title="figures are those of all series at once",
        alert="none",
        series=series,
        figures={
            'gatecast:forecast_skill:ratio{forecaster="lstm"}': {
                'gatecast:forecast_skill:ratio{forecaster="lstm",step="1"}': 1 - 219 / 306
            },
            'gatecast:forecast_mase:ratio{forecaster="lstm"}': {
                'gatecast:forecast_mase:ratio{forecaster="lstm",step="1"}': 219 / 303
            },
            'round(gatecast:forecast_interval_misses:ratio_rate{forecaster="lstm"}, 0.000001)': {
                '{forecaster="lstm",step="1"}': round((3 * 0.5 + 300 * 0.1) / 303, 6)
            },
        },
    )
