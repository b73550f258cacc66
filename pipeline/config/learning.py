"""Sections `forecasters` and `learning`. Their defaults are those of `forecasters.build`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from pipeline.config.section import Section, Text

BLEND = "blend"
LEADER = "leader"
"""As champion: each series follows the forecaster that does best on it."""


def _choose_champion(settings: dict[str, Any]) -> str:
    return choose_first(settings["names"])


def choose_first(names: Sequence[str]) -> str:
    """Whom to follow where nobody else is named."""
    return BLEND if BLEND in names else str(names[-1])


class ForecastersConfig(Section):
    """Section `forecasters`."""

    names: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        default=("naive", "seasonal_naive", "linear", "rnn", "lstm", "blend"),
        description="Which forecast: naive, seasonal_naive, linear, rnn, lstm, gru, and blend of the others.",
        examples=[["rnn", "lstm"]],
    )
    horizon: int = Field(default=24, ge=1, le=10_000, description="How many steps ahead are forecast.")
    hidden: int = Field(
        default=64, ge=1, le=4_096, description="Units in each layer of the recurrent forecasters."
    )
    layers: int = Field(default=1, ge=1, le=16, description="Layers of the recurrent forecasters.")
    coverage: float = Field(
        default=0.9, gt=0, lt=1, description="Share of values that the intervals are to hold."
    )
    champion: Text = Field(
        default_factory=_choose_champion,
        description="The forecaster that alerts and expected values follow, or leader: for each series the "
        "one that does best on it. Left out: blend where it is among the names, else the last of them.",
        json_schema_extra={"default": BLEND},
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**63 - 1,
        description="Seed of everything random; each partition derives its own.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$",
        description="Where to compute: auto (a GPU where there is one), cpu, cuda or cuda:N.",
    )

    @field_validator("names")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each name once")
        return value

    @model_validator(mode="after")
    def _check_champion(self) -> Self:
        if self.champion == LEADER and len(self.names) < 2:
            raise ValueError(
                f"expected several names for champion {LEADER} to choose from, found {self.names[0]!r} "
                "alone; add some or name a champion"
            )
        if self.champion not in (*self.names, LEADER):
            raise ValueError(
                f"expected champion to be {LEADER} or one of the names, which are {', '.join(self.names)}, "
                f"found {self.champion!r}; add it to them or name another"
            )
        return self

    @property
    def first_champion(self) -> str:
        """The champion, or who stands in for it where each series has its own: whom new series follow."""
        return choose_first(self.names) if self.champion == LEADER else self.champion


class LearningConfig(Section):
    """Section `learning`."""

    chunk: int = Field(
        default=16, ge=1, le=4_096, description="Steps of truncated backpropagation through time."
    )
    replay: int = Field(default=48, ge=0, le=4_096, description="Old chunks that join each step of learning.")
    rate: float = Field(
        default=0.001, gt=0, le=1, description="Learning rate of Adam, after the first steps."
    )
    max_rate: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="Readings a second, by the broker's clock and in each partition, that the networks learn "
        "at most; beyond that learning is thinned, forecasting is not. Left out: all of them.",
        examples=[20_000],
    )
