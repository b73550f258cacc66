"""What is found in files or in a topic, before it is printed or written."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.histories import read_history
from pipeline.inspection.guess import Guess, guess_format
from pipeline.inspection.rhythm import Rhythms, find_rhythms
from pipeline.placement import find_partition
from pipeline.records import BAD_QUALITY, GOOD, Messages, Readings, Rejected
from pipeline.sources.dialect import TableOptions

# What the reader of files counts, by the words of a worker's metrics.
_MASKED = {"missing": "missing", "text": "bad_quality", "infinite": "missing"}
_REJECTED = {"unparsed_time": "bad_time", "bad_series": "bad_series", "ragged": "not_decodable"}

Decode = Callable[[Guess, Messages], tuple[Readings, Sequence[Rejected]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """``masked``, ``dropped`` and ``rejected`` count by the reasons of a worker's metrics."""

    title: str
    facts: tuple[tuple[str, str], ...]  # what, and how it is
    notes: tuple[str, ...]
    series: tuple[str, ...]
    rhythms: Rhythms
    masked: Mapping[str, int]
    dropped: Mapping[str, int]
    rejected: Mapping[str, int]
    guess: Guess | None = None  # of a topic
    bootstrap: str | None = None
    topic: str | None = None
    split: tuple[str, ...] = field(default=())  # series that occur in two partitions


def inspect_files(files: Sequence[str], options: TableOptions, rows: int | None) -> Findings:
    """Raises TableError for a file that can't be read."""
    history = read_history(files, options, rows=rows, warmup=0.0, score_from=0.0)
    rhythms = find_rhythms(len(history.series), history.series_index, history.event_time_ms, history.value)
    counts = history.counts
    return Findings(
        title=", ".join(history.files),
        facts=_describe_dialect(history.assumed, options, history.files),
        notes=history.assumed,
        series=history.series,
        rhythms=rhythms,
        masked=_sum_up(counts, _MASKED, gap=rhythms.counts["gap"]),
        # History sorts by time, so that its order says nothing of the file's.
        dropped={"duplicate": rhythms.counts["duplicate"], "late": counts.get("unsorted", 0)},
        rejected=_sum_up(counts, _REJECTED),
    )


def inspect_topic(
    batches: Sequence[Messages], decode: Decode, *, bootstrap: str, topic: str
) -> Findings | Guess:
    """From the newest messages of each partition; a Guess alone if their format is not known."""
    values = [value for batch in batches for value in batch.value]
    keys = [key for batch in batches for key in batch.key]
    guess = guess_format(values, keyed=any(keys))
    if guess.format is None:
        return guess
    masked, rejected, owners = Counter[str](), Counter[str](), dict[str, set[int]]()
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    numbers: dict[str, int] = {}
    misplaced = 0
    for batch in batches:
        readings, refused = decode(guess, batch)
        rejected.update(reason for one in refused for reason in one.reasons)
        if readings.fault is not None:
            masked["bad_quality"] += int((readings.fault == BAD_QUALITY).sum())
            masked["missing"] += int(((readings.fault != GOOD) & (readings.fault != BAD_QUALITY)).sum())
        present = np.unique(readings.series_index).tolist()
        for name in (readings.series[at] for at in present):
            numbers.setdefault(name, len(numbers))
            owners.setdefault(name, set()).add(batch.partition)
            misplaced += find_partition(name, len(batches)) != batch.partition
        codes = np.array([numbers.get(name, 0) for name in readings.series], np.int64)
        usable = readings.value if readings.fault is None else np.where(
            readings.fault == GOOD, readings.value, np.nan
        )  # fmt: skip
        columns.append((codes[readings.series_index], readings.event_time_ms, usable))
    index, times, value = (np.concatenate(part) for part in zip(*columns, strict=True))
    rhythms = find_rhythms(len(numbers), index, times, value)
    placement = f"{misplaced} series elsewhere" if misplaced else "as murmur2 of the id has it"
    return Findings(
        title=f"{topic} on {bootstrap}",
        facts=(
            ("messages", f"{len(values):,} of {len(batches)} partitions, {_say_share(guess)}"),
            ("keys", f"{sum(key is None for key in keys):,} without one"),
            ("fields", ", ".join(f"{part} = {path}" for part, path in guess.fields.items()) or "as usual"),
            ("time unit", guess.time_unit or "in the message's own type"),
            ("placement", placement),
        ),
        notes=guess.notes,
        series=tuple(numbers),
        rhythms=rhythms,
        masked={**masked, "gap": rhythms.counts["gap"]},
        dropped={
            "duplicate": rhythms.counts["duplicate"],
            "late": rhythms.counts["late"],
            "tombstone": sum(value is None for value in values),
        },
        rejected=rejected,
        guess=guess,
        bootstrap=bootstrap,
        topic=topic,
        split=tuple(name for name, found in owners.items() if len(found) > 1),
    )


def _say_share(guess: Guess) -> str:
    return f"{guess.title}" + (f" ({guess.share:.0%} of them)" if guess.share < 1 else "")


def _sum_up(counts: Mapping[str, int], words: Mapping[str, str], **more: int) -> dict[str, int]:
    total = Counter(more)
    for name, number in counts.items():
        if name in words:
            total[words[name]] += number
    return dict(total)


def _describe_dialect(
    notes: Sequence[str], options: TableOptions, files: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """How the files are written; what no note tells is as usual."""
    said = "\n".join(notes)

    def find(pattern: str, usual: str) -> str:
        return ", ".join(dict.fromkeys(re.findall(pattern, said))) or usual

    if all(name.lower().endswith((".parquet", ".pq")) for name in files):
        facts = [("form", "Parquet")]
    else:
        decimal = "comma" if options.decimal == "," or "decimal comma" in said else "point"
        facts = [
            ("encoding", options.encoding or find(r"(?<!-)encoding ([\w-]+)", "utf-8")),
            ("delimiter", options.delimiter or find(r"(?<!-)delimiter ([\w ]+)", "as told in the file")),
            ("decimal mark", decimal),
        ]
    zone = options.time_zone or ("UTC, for want of another" if "taken as UTC" in said else "in the times")
    return (*facts, ("time zone", zone))
