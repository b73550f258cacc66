"""What the owner takes away after its commit, and what it never does."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from pipeline.ports import Position
from pipeline.store import CheckpointStore, Folder
from pipeline.store.files import open_file_system
from pipeline.store.paths import MANIFEST, STATE
from pipeline.store.retention import Kept, select_surplus

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def make_kept(offset: int, age: timedelta, whole: bool = True) -> Kept:
    folder = Folder(next_offset=offset, uuid=f"{offset:032x}")
    return Kept(folder=folder, whole=whole, written_at=NOW - age)


def surplus(kept: list[Kept], committed: int, keep: int = 3, daily_days: int = 7) -> list[int]:
    gone = select_surplus(kept, committed, f"{committed:032x}", keep=keep, daily_days=daily_days, now=NOW)
    return [folder.next_offset for folder in gone]


def test_the_last_three_stay_and_one_a_day() -> None:
    """A checkpoint every six hours for two weeks; the newest is committed."""
    kept = [make_kept(k, timedelta(hours=6) * (56 - k)) for k in range(1, 57)]
    left = [k.folder.next_offset for k in kept if k.folder.next_offset not in surplus(kept, 56)]
    last_of_days = [29, 33, 37, 41, 45, 49, 53]  # 18:00 of the seven days before today
    assert left == [*last_of_days, 54, 55, 56]
    assert surplus(kept, 56, keep=1, daily_days=0) == list(range(1, 56))


def test_the_committed_one_always_stays() -> None:
    kept = [make_kept(k, 30 * DAY) for k in range(1, 9)]
    assert surplus(kept, 2, keep=0, daily_days=0) == [1, 3, 4, 5, 6, 7, 8]


def test_what_is_above_the_committed_offset_is_none_of_the_last_three() -> None:
    """After a reset by an operator old ones lie above; the daily rule alone holds them."""
    kept = [make_kept(k, (20 - k) * DAY) for k in range(1, 6)]
    kept += [make_kept(100 + k, 2 * DAY - k * HOUR) for k in range(3)]
    assert surplus(kept, 5) == [1, 2, 100, 101]


def test_one_that_may_be_about_to_be_committed_stays() -> None:
    kept = [make_kept(1, DAY), make_kept(2, timedelta(minutes=59)), make_kept(3, timedelta(minutes=61))]
    assert surplus(kept, 1, keep=1, daily_days=0) == [3]


def test_half_written_ones_go_after_an_hour() -> None:
    kept = [
        make_kept(k, age, whole=False) for k, age in enumerate([2 * HOUR, timedelta(minutes=50), 2 * HOUR])
    ]
    kept.append(Kept(folder=Folder(next_offset=9, uuid="9" * 32), whole=False, written_at=None))
    assert surplus(kept, 2) == [0], "neither the young one, the committed one, nor one of unknown age"


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_the_store_takes_them_away(kind: str, tmp_path: Path) -> None:
    clock = Clock()
    fs, root = open_file_system(str(tmp_path) if kind == "local" else f"memory://{uuid.uuid4().hex}")
    store = CheckpointStore(fs, root, "g", "t", clock)
    facts, positions = {"num_partitions": 1}, []
    for offset in range(1, 8):
        clock.now += timedelta(minutes=1)
        metadata = store.write("id", 0, offset, {"a": torch.zeros(3)}, facts)
        positions.append(Position(offset=offset, metadata=metadata))
    other = store.write("id", 1, 1, {"a": torch.zeros(3)}, facts)
    half = store.describe_place("id", 0, Folder(next_offset=3, uuid=positions[2].metadata.partition(":")[0]))
    half = open_file_system(half)[1]
    fs.rm_file(f"{half}/{MANIFEST}")
    newer = open_file_system(
        store.describe_place("id", 0, Folder(next_offset=1, uuid=positions[0].metadata[:32]))
    )[1]
    manifest = fs.cat_file(f"{newer}/{MANIFEST}")
    with fs.open(f"{newer}/{MANIFEST}", "wb") as file:
        file.write(manifest.replace(b'"format": 1', b'"format": 2'))

    gone = store.prune("id", 0, positions[-1], keep=2, daily_days=0)
    assert [f.next_offset for f in gone] == [2, 4, 5], "3 is half-written and young, 1 is of another version"
    assert store.load("id", 0, store.list_folders("id", 0)[-1]).manifest.metadata == positions[-1].metadata
    clock.now += 2 * HOUR
    gone = store.prune("id", 0, positions[-1], keep=2, daily_days=0)
    assert [f.next_offset for f in gone] == [3]
    assert [f.next_offset for f in store.list_folders("id", 0)] == [1, 6, 7]
    assert [f.uuid for f in store.list_folders("id", 1)] == [other[:32]], "other partitions have other owners"
    assert store.prune("id", 0, positions[-1], keep=2, daily_days=0) == []
    if kind == "local":
        assert sorted(os.listdir(Path(half).parent)) == sorted(str(f) for f in store.list_folders("id", 0))


def test_a_state_without_manifest_never_passes_for_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it takes one away: the manifest went first."""
    clock = Clock()
    fs, root = open_file_system(str(tmp_path))
    store = CheckpointStore(fs, root, "g", "t", clock)
    for offset in (1, 2):
        name = store.write("id", 0, offset, {"a": torch.zeros(3)}, {"num_partitions": 1})
    removed = []
    remove = fs.rm_file

    def stop(path: str) -> None:
        if removed:
            raise KeyboardInterrupt
        removed.append(path)
        remove(path)

    monkeypatch.setattr(fs, "rm_file", stop)
    with pytest.raises(KeyboardInterrupt):
        store.prune("id", 0, Position(offset=2, metadata=name), keep=1, daily_days=0)
    assert removed[0].endswith(MANIFEST)
    assert len(list(tmp_path.rglob(STATE))) == 2
    assert len(list(tmp_path.rglob(MANIFEST))) == 1
