"""Which checkpoints of a partition may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pipeline.store.paths import Folder

GRACE = timedelta(hours=1)
"""A folder without manifest may be one that is being written, and a whole one above the committed offset may
be about to be committed; neither takes an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A folder as retention sees it. written_at: of the manifest where it is whole, else of its newest file;
    None where nobody knows."""

    folder: Folder
    whole: bool
    written_at: datetime | None


def select_surplus(
    kept: Sequence[Kept],
    committed_offset: int,
    committed_uuid: str,
    *,
    keep: int,
    daily_days: int,
    now: datetime,
) -> list[Folder]:
    """Folders that may go, oldest first.

    Of the whole ones stay: the committed one, the last `keep` at or below the committed offset, the last of
    each day (UTC) for `daily_days` days, and what is younger than an hour above the committed offset. Half
    written ones go after an hour.
    """
    whole = sorted(
        ((k, k.written_at) for k in kept if k.whole and k.written_at is not None),
        key=lambda pair: (pair[0].folder.next_offset, pair[1]),
    )
    stay = {committed_uuid}
    below = [k for k, _ in whole if k.folder.next_offset <= committed_offset]
    stay.update(k.folder.uuid for k in below[-keep:] if keep)
    last_of_day: dict[date, str] = {}
    for k, written_at in sorted(whole, key=lambda pair: pair[1]):
        if written_at > now - timedelta(days=daily_days):
            last_of_day[written_at.astimezone(UTC).date()] = k.folder.uuid
        if k.folder.next_offset > committed_offset and written_at > now - GRACE:
            stay.add(k.folder.uuid)
    stay.update(last_of_day.values())
    surplus = [k.folder for k, _ in whole if k.folder.uuid not in stay]
    surplus += [
        k.folder
        for k in kept
        if not k.whole
        and k.written_at is not None
        and k.written_at < now - GRACE
        and k.folder.uuid != committed_uuid
    ]
    return sorted(surplus, key=lambda folder: (folder.next_offset, folder.uuid))
