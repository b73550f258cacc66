"""Sections of what a worker sends, shows and keeps: alerts to log."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from pipeline.config.section import Section, Text, Texts

CHAMPION = "champion"
_BUDGET = re.compile(r"([0-9]+(?:\.[0-9]+)?)(/series)?/day")
Steps = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


class AlertsConfig(Section):
    """Section `alerts`."""

    budget: Text = Field(
        default="5/day",
        description="False alarms accepted: of all series together, or of each as in 0.1/series/day.",
        examples=["5/day", "0.1/series/day"],
    )
    grid_s: int = Field(
        default=60, ge=1, le=86_400, description="Readings are judged no more often than this."
    )
    hold_steps: int = Field(
        default=100, ge=1, le=100_000, description="An alert ends after so many quiet steps of that grid."
    )
    max_per_hour: int = Field(
        default=1, ge=1, le=3_600, description="Alerts of one series that may begin in an hour."
    )
    masked_in_a_row: int = Field(
        default=3,
        ge=1,
        le=10_000,
        description="Unusable readings in a row that raise bad_quality or out_of_range.",
    )

    @field_validator("budget")
    @classmethod
    def _check_budget(cls, value: str) -> str:
        found = _BUDGET.fullmatch(value)
        if found is None or not float(found[1]) > 0:
            raise ValueError('a budget above 0 such as "5/day" or "0.1/series/day"')
        return value

    @property
    def budget_per_day(self) -> float:
        """Alerts a day, of all series together or of each: see `budget_is_per_series`."""
        return float(self.budget.partition("/")[0])

    @property
    def budget_is_per_series(self) -> bool:
        """Whether the budget is one for each series."""
        return "/series/" in self.budget


class ForecastsConfig(Section):
    """Section `forecasts`: what is sent to the forecasts topic."""

    format: Literal["json", "arrow"] = Field(
        default="json", description="json: a message a forecast; arrow: batches."
    )
    forecasters: Annotated[Texts, Field(min_length=1)] = Field(
        default=(CHAMPION,),
        description="Whose forecasts are sent; champion stands for the one named in forecasters.champion.",
        examples=[["champion", "rnn"]],
    )
    steps: Literal["all"] | Steps = Field(
        default="all", description="Steps ahead that are sent.", examples=[[1, 6, 24]]
    )
    every: int = Field(
        default=1, ge=1, le=1_000_000, description="Send those made at every so many steps of a series."
    )


class MetricsConfig(Section):
    """Section `metrics`: which series, forecasters and steps have values of their own on /metrics."""

    watch: Texts = Field(
        default=(),
        description="Series that are always shown: globs, case-sensitive.",
        examples=[["boiler/*"]],
    )
    series_forecasters: Annotated[Texts, Field(min_length=1)] = Field(
        default=("rnn", "lstm"), description="Forecasters whose forecasts of shown series are exported."
    )
    series_steps: Steps | None = Field(
        default=None,
        description="Steps ahead that are exported for them. Left out: 1 and the horizon.",
        examples=[[1, 24]],
    )
    max_series: int = Field(
        default=50,
        ge=0,
        le=10_000,
        description="Series shown beside the watched ones: with an alert, and the worst.",
    )


class CheckpointsConfig(Section):
    """Section `checkpoints`."""

    url: Text = Field(
        default="./checkpoints",
        description="A folder, or any URL that fsspec knows; all workers need the same.",
        examples=["s3://bucket/gatecast"],
    )
    interval_s: int = Field(
        default=60, ge=1, le=86_400, description="Time between two checkpoints of a partition."
    )
    keep: int = Field(
        default=3, ge=1, le=1_000, description="So many of the newest checkpoints of each partition stay."
    )
    daily_days: int = Field(
        default=7, ge=0, le=3_650, description="Beside them, one checkpoint a day stays for so many days."
    )


class ServerConfig(Section):
    """Section `server`: the port of /metrics, /healthz, /readyz and the page."""

    host: Text = Field(default="127.0.0.1", description="Address to listen at; 0.0.0.0 is all of them.")
    port: int = Field(default=8000, ge=0, le=65_535, description="0 takes a free one and logs it.")
    tls_cert_file: Text | None = Field(
        default=None,
        description="Certificate (PEM); with it the port speaks HTTPS.",
        examples=["/etc/gatecast/tls.crt"],
    )
    tls_key_file: Text | None = Field(
        default=None, description="Key of that certificate (PEM).", examples=["/etc/gatecast/tls.key"]
    )
    username: Text | None = Field(
        default=None, description="User name for basic authentication.", examples=["prometheus"]
    )
    password: SecretStr | None = Field(
        default=None, min_length=1, description="Password for basic authentication."
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        for one, other in (("tls_cert_file", "tls_key_file"), ("username", "password")):
            for given, missing in ((one, other), (other, one)):
                if getattr(self, given) is not None and getattr(self, missing) is None:
                    raise ValueError(
                        f"expected {one} and {other} together, but only {given} is set; set {missing}"
                    )
        return self


class LogConfig(Section):
    """Section `log`."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe messages that are logged."
    )
    format: Literal["text", "json"] = Field(default="text", description="json: an object a line.")
