"""Section `readings`: how messages are read, and how readings are laid on the grids of their series."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.section import Section, Text

DAY_S = 86_400


class FieldsConfig(Section):
    """Section `readings.fields`: where the parts of a reading lie if not where its format has them."""

    series: Text | None = Field(
        default=None,
        description="Id of the series: a dotted path, or a template with paths in braces. Left out: series; "
        "for influx the measurement, its sorted tags and the field. Not in the message: its Kafka key.",
        examples=["{tags.unit}/{name}/{field}"],
    )
    time: Text | None = Field(
        default=None,
        description="Event time: a dotted path. Left out: time; for influx timestamp. Not in the message: "
        "its Kafka timestamp.",
        examples=["timestamp"],
    )
    value: Text | None = Field(
        default=None, description="The value: a dotted path. Left out: value.", examples=["payload.value"]
    )
    values: Text | None = Field(
        default=None,
        description="Several values in one object, each a reading; {field} in series is the name of each.",
        examples=["fields.*"],
    )
    items: Text | None = Field(
        default=None, description="An array of readings inside a message.", examples=["metrics"]
    )
    quality: Text | None = Field(
        default=None,
        description="Quality: a dotted path. Left out: every value is good.",
        examples=["quality"],
    )
    good: Annotated[tuple[Text | int, ...], Field(min_length=1)] = Field(
        default=("good", "ok", "true", 192),
        description="Qualities of good values, in any case. 192 is OPC DA's; OPC UA's 0 has to be named.",
        examples=[["good", 192]],
    )

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        if self.values is not None and self.value is not None:
            raise ValueError(
                "expected either value (one reading an object) or values (several), but both are set; "
                "leave one out"
            )
        return self


class ReadingsConfig(Section):
    """Section `readings`."""

    format: Literal["json", "columns", "arrow", "influx"] = Field(
        default="json",
        description="json: an object or an array of them; columns: one object of arrays; arrow: Arrow IPC "
        "streams; influx: line protocol.",
    )
    fields: FieldsConfig = Field(
        default=FieldsConfig(), description="Where the parts of a reading lie in a message."
    )
    time_unit: Literal["auto", "s", "ms", "us", "ns", "rfc3339"] | None = Field(
        default=None,
        description="Unit of times that are numbers; auto tells by their size, rfc3339 takes texts only. "
        "Left out: ns for influx, auto for the others.",
        examples=["ms"],
    )
    decimal: Literal[".", ","] = Field(default=".", description="Decimal sign of numbers that come as text.")
    cadence_ms: int | None = Field(
        default=None,
        ge=1,
        description="Distance of two readings of a series. Left out: inferred for each series.",
        examples=[60_000],
    )
    cadence_readings: int = Field(
        default=8,
        ge=2,
        le=1_000,
        description="So many first readings of a series give its cadence, by their median gap.",
    )
    season_ms: int = Field(
        default=86_400_000, ge=1, description="Length of the season of the series; it is never inferred."
    )
    max_gap: int = Field(
        default=24,
        ge=0,
        description="Steps: longer gaps restart a series, shorter ones are filled with masked steps.",
    )
    within_step: Literal["first", "last", "mean"] = Field(
        default="first",
        description="Which of several readings in one step counts. last and mean wait for its end.",
    )
    lateness_ms: int = Field(
        default=0,
        ge=0,
        description="Wait so long for readings out of order. Holds every forecast back by as much.",
    )
    max_ahead_s: int = Field(
        default=3_600,
        ge=0,
        description="Readings further ahead of the broker's timestamp than this are rejected.",
    )
    mode: Literal["sampled", "by_exception"] = Field(
        default="sampled",
        description="by_exception: unchanged values are not sent, and a missing step holds the last.",
    )
    silent_after_s: int = Field(
        default=300,
        ge=1,
        description="A series counts as silent after so long, and never before five of its cadences.",
    )
    retire_after_s: int = Field(
        default=7 * DAY_S,
        ge=60,
        description="A series silent for so long (by the shard's clock) is forgotten.",
    )
    max_series: int = Field(
        default=100_000,
        ge=1,
        description="Series in each partition, at most; readings of further ones are rejected.",
    )
    max_message_bytes: int = Field(
        default=4 << 20, ge=1_024, description="Longer messages are rejected unread."
    )
    max_readings: int = Field(default=100_000, ge=1, description="Messages with more readings are rejected.")
    placement: Literal["producer", "murmur2"] = Field(
        default="producer",
        description="producer: trust that all readings of a series are in one partition; murmur2: reject "
        "those that are not where the default partitioner puts their id.",
    )
    series_file: Text | None = Field(
        default=None,
        description="CSV file of what is known about the series.",
        examples=["/etc/gatecast/series.csv"],
    )
