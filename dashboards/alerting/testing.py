"""The form of promtool's rule tests, and stories that they tell: what comes when, and when an alert fires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboards.thresholds import Thresholds

STEP_S = 30
"""Between two scrapes of a story. Shipped is 10 s; nothing may depend on it."""
EVALUATION_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Samples for a while. value None: the target is gone, as Prometheus marks it."""

    seconds: int
    value: float | None
    slope: float = 0.0  # per second

    def as_text(self) -> str:
        number = max(self.seconds // STEP_S, 1)
        if self.value is None:
            return "stale" if number == 1 else f"stale _x{number - 1}"
        if not self.slope:
            return f"{self.value:.12g}x{number - 1}"
        return f"{self.value:.12g}{self.slope * STEP_S:+.12g}x{number - 1}"


def gone(seconds: int) -> Phase:
    return Phase(seconds=seconds, value=None)


def level(seconds: int, value: float, slope: float = 0.0) -> Phase:
    return Phase(seconds=seconds, value=value, slope=slope)


def count(seconds: int, rate: float) -> Phase:
    """A counter that begins at 0, as after a restart."""
    return Phase(seconds=seconds, value=0.0, slope=rate)


Message = tuple[Mapping[str, str], Mapping[str, str]]
"""Labels and annotations of an alert that fires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One story. firing, quiet: seconds at which the alert fires once, with these labels, or does not.

    messages: by second, all that fires then.
    """

    title: str
    alert: str
    series: Mapping[str, Sequence[Phase]]
    labels: Mapping[str, str] = field(default_factory=dict)
    firing: Sequence[int] = ()
    quiet: Sequence[int] = ()
    messages: Mapping[int, Sequence[Message]] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By expression, what it gives at the end of the first hour: value by sample."""

    def as_yaml(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "name": self.title,
            "interval": f"{STEP_S}s",
            "input_series": [
                {"series": selector, "values": " ".join(phase.as_text() for phase in phases)}
                for selector, phases in self.series.items()
            ],
        }
        checks = [self._check(at, is_firing=at in self.firing) for at in sorted({*self.firing, *self.quiet})]
        checks += [_expect(expr, samples) for expr, samples in self.figures.items()]
        if checks:
            told["promql_expr_test"] = checks
        if self.messages:
            told["alert_rule_test"] = [self._read(at, text) for at, text in self.messages.items()]
        return told

    def _check(self, at_s: int, is_firing: bool) -> dict[str, Any]:
        pairs = {"alertname": self.alert, "alertstate": "firing", **self.labels}
        text = ",".join(f'{key}="{_escape(value)}"' for key, value in pairs.items())
        samples = [{"labels": f"ALERTS{{{text}}}", "value": 1}] if is_firing else []
        expr = f'ALERTS{{alertname="{self.alert}",alertstate="firing"}}'
        return {"expr": expr, "eval_time": f"{at_s}s", "exp_samples": samples}

    def _read(self, at_s: int, messages: Sequence[Message]) -> dict[str, Any]:
        told = [{"exp_labels": dict(labels), "exp_annotations": dict(texts)} for labels, texts in messages]
        return {"eval_time": f"{at_s}s", "alertname": self.alert, "exp_alerts": told}


def _expect(expr: str, samples: Mapping[str, float]) -> dict[str, Any]:
    found = [{"labels": labels, "value": value} for labels, value in samples.items()]
    return {"expr": expr, "eval_time": "1h", "exp_samples": found}


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What an alert is about, as samples of a bad and of a good time: phases of a given length by series.

    onset: from its beginning until the expression sees it. fades: from its end until the expression doesn't.
    """

    bad: Mapping[str, Phase]
    good: Mapping[str, Phase]
    onset_s: int = 2 * STEP_S
    fades_s: int = STEP_S


def tell(
    alert: str,
    labels: Mapping[str, str],
    trouble: Trouble,
    *,
    hold_s: int = 0,
    keep_s: int,
    message: Mapping[str, str] | None = None,
) -> list[Case]:
    """Two stories that every alert must stand: trouble, a restart amid it, the end; and no trouble at all.

    It fires `hold_s` after the onset and not a minute before; while the target is gone and returns, for less
    than `keep_s`, it goes on without a break, which would be a "resolved" and a second mail.
    """
    first_s = -(-(trouble.onset_s + hold_s + 600) // STEP_S) * STEP_S
    gap_s = (keep_s - 2 * STEP_S - EVALUATION_S) // STEP_S * STEP_S
    last_s = 600
    fires_s = trouble.onset_s + hold_s
    back_s = first_s + gap_s
    over_s = back_s + last_s + trouble.fades_s + keep_s
    story = {
        selector: (
            _lasting(bad, first_s),
            gone(gap_s),
            _lasting(bad, last_s),
            _lasting(trouble.good[selector], trouble.fades_s + keep_s + 600),
        )
        for selector, bad in trouble.bad.items()
    }
    kept = range(first_s, back_s + last_s, max(gap_s // 4, STEP_S))
    early = (fires_s - 60,) if hold_s > 60 else ()
    calm = {selector: (_lasting(good, over_s),) for selector, good in trouble.good.items()}
    return [
        Case(
            title=f"{alert}: trouble, a restart amid it, the end",
            alert=alert,
            series=story,
            labels=labels,
            firing=(fires_s + STEP_S, *kept),
            quiet=(*early, over_s + 60),
            messages={fires_s + 60: [(labels, message)]} if message else {},
        ),
        Case(
            title=f"{alert}: no trouble",
            alert=alert,
            series=calm,
            quiet=tuple(range(STEP_S, over_s, max(over_s // 8, STEP_S))),
        ),
    ]


def _lasting(phase: Phase, seconds: int) -> Phase:
    return Phase(seconds=seconds, value=phase.value, slope=phase.slope)


def build_tests(t: Thresholds) -> dict[str, Any]:
    """Contents of promtool's files, by name."""
    from dashboards.alerting import cases_of_intake, cases_of_models, cases_of_running, cases_of_sensors

    stories = {
        "sensors": cases_of_sensors.list_cases(t),
        "models": cases_of_models.list_cases(t),
        "intake": cases_of_intake.list_cases(t),
        "running": cases_of_running.list_cases(t),
    }
    return {
        name: {
            "rule_files": ["../figures.yaml", f"../{name}.yaml"],
            "evaluation_interval": f"{EVALUATION_S}s",
            # promtool evaluates groups in an order of its own at each run: what alerts compare comes first
            "group_eval_order": ["gatecast-figures", f"gatecast-{name}"],
            "tests": [case.as_yaml() for case in cases],
        }
        for name, cases in stories.items()
    }
