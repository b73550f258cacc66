"""The whole configuration, and what one section asks of another."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipeline.config.kafka import KafkaConfig
from pipeline.config.learning import ForecastersConfig, LearningConfig
from pipeline.config.outputs import (
    CHAMPION,
    AlertsConfig,
    CheckpointsConfig,
    ForecastsConfig,
    LogConfig,
    MetricsConfig,
    ServerConfig,
)
from pipeline.config.readings import ReadingsConfig
from pipeline.config.section import Section


class Config(Section):
    """Settings of a worker. `model_fields_set` of a section tells what was set and not left out."""

    kafka: KafkaConfig = Field(default=KafkaConfig(), description="Brokers, logging in, topics.")
    readings: ReadingsConfig = Field(
        default=ReadingsConfig(), description="How readings are read and placed."
    )
    forecasters: ForecastersConfig = Field(
        default=ForecastersConfig(), description="Who forecasts, and how far."
    )
    learning: LearningConfig = Field(default=LearningConfig(), description="How the networks learn.")
    alerts: AlertsConfig = Field(default=AlertsConfig(), description="When somebody is told.")
    forecasts: ForecastsConfig = Field(
        default=ForecastsConfig(), description="What the forecasts topic gets."
    )
    metrics: MetricsConfig = Field(default=MetricsConfig(), description="Which series /metrics shows.")
    checkpoints: CheckpointsConfig = Field(default=CheckpointsConfig(), description="Where state is kept.")
    server: ServerConfig = Field(default=ServerConfig(), description="The port of /metrics and the page.")
    log: LogConfig = Field(default=LogConfig(), description="What is logged, and how.")

    @property
    def sent_forecasters(self) -> tuple[str, ...]:
        """Names of those whose forecasts are sent, each once, `champion` resolved."""
        names = (self.forecasters.champion if n == CHAMPION else n for n in self.forecasts.forecasters)
        return tuple(dict.fromkeys(names))

    @property
    def sent_steps(self) -> tuple[int, ...]:
        """Steps ahead that are sent, ascending."""
        steps = self.forecasts.steps
        return tuple(range(1, self.forecasters.horizon + 1)) if steps == "all" else tuple(sorted(set(steps)))

    @property
    def shown_forecasters(self) -> tuple[str, ...]:
        """Names of those whose forecasts of single series are exported: the champion's always, since messages
        of alerts say what it expected."""
        names = dict.fromkeys((*self.metrics.series_forecasters, self.forecasters.first_champion))
        return tuple(name for name in names if name in self.forecasters.names)

    @property
    def shown_steps(self) -> tuple[int, ...]:
        """Steps ahead for which forecasts of single series are exported, ascending."""
        return tuple(sorted(set(self.metrics.series_steps or (1, self.forecasters.horizon))))

    @model_validator(mode="after")
    def _check_forecasters(self) -> Self:
        names = self.forecasters.names
        asked = {"forecasts.forecasters": self.sent_forecasters}
        if "series_forecasters" in self.metrics.model_fields_set:
            asked["metrics.series_forecasters"] = self.metrics.series_forecasters
        for key, wanted in asked.items():
            known = (*names, self.forecasters.champion)  # which may be leader
            if unknown := [name for name in wanted if name not in known]:
                raise ValueError(
                    f"{key}: expected some of forecasters.names, which are {', '.join(names)}, "
                    f"found {unknown[0]!r}; add it to them or leave it out here"
                )
        return self

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        horizon = self.forecasters.horizon
        for key, steps in (("forecasts.steps", self.sent_steps), ("metrics.series_steps", self.shown_steps)):
            if steps[-1] > horizon:
                raise ValueError(
                    f"{key}: expected steps up to forecasters.horizon, which is {horizon}, "
                    f"found {steps[-1]}; raise the horizon or leave that step out"
                )
        return self
