"""How good alerts are, against labelled windows of time in which something was wrong."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from pipeline.alert_log import Episode
from pipeline.config import ConfigError

DAY_MS = 86_400_000
Window = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFile:
    """Episodes of one file, its windows, and what time of it is scored."""

    episodes: Sequence[Episode]
    windows: Sequence[Window]
    from_ms: int
    until_ms: int


def read_labels(path: str) -> dict[str, list[Window]]:
    """Windows in epoch milliseconds by the end of a file's path. Raises ConfigError."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return {
            name: [(_read_time(start), _read_time(end)) for start, end in windows]
            for name, windows in content.items()
        }
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable file of labels ({error.strerror})") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f'{path}: expected JSON such as {{"folder/file.csv": [["2014-04-10 16:15", "2014-04-12 01:45"]]}}'
            f" ({error})"
        ) from error


def find_windows(labels: dict[str, list[Window]], file: str, path: str) -> list[Window]:
    """Those of the label whose name is the end of the file's path; the longest such name counts.

    Raises ConfigError where there is none: a file that nobody looked at is not one without anomalies.
    """
    parts = PurePath(file).parts
    fitting = [name for name in labels if parts[-len(PurePath(name).parts) :] == PurePath(name).parts]
    if not fitting:
        raise ConfigError(
            f"{path}: expected windows of {file}, found none; give it an entry, [] where nothing was wrong"
        )
    return labels[max(fitting, key=len)]


def measure(files: Sequence[LabelledFile]) -> dict[str, Any]:
    """Recall over windows, precision over episodes, false episodes a day of a file, and how soon.

    A window wholly before the scored time is left out. An episode is right if it overlaps a window. The delay
    is from a window's start to the first exceedance in it, over the windows that were found.
    """
    windows = found = right = episodes = 0
    days, delays = 0.0, []
    for file in files:
        days += max(file.until_ms - file.from_ms, 0) / DAY_MS
        counted = [window for window in file.windows if window[1] >= file.from_ms]
        windows += len(counted)
        episodes += len(file.episodes)
        right += sum(any(_overlap(e, window) for window in counted) for e in file.episodes)
        for window in counted:
            hits = [max(e.first_ms - window[0], 0) for e in file.episodes if _overlap(e, window)]
            found += bool(hits)
            delays += [min(hits)] if hits else []
    return {
        "recall": found / windows if windows else None,
        "precision": right / episodes if episodes else None,
        "false_alerts_per_day": (episodes - right) / days if days else None,
        "median_delay_s": statistics.median(delays) / 1000 if delays else None,
        "windows": windows,
        "episodes": episodes,
    }


def _overlap(episode: Episode, window: Window) -> bool:
    return episode.first_ms <= window[1] and episode.last_ms >= window[0]


def _read_time(text: str) -> int:
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(moment.timestamp() * 1000)
