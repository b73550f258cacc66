"""Every row of the contract's table: what a partition's new owner takes."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import torch

from pipeline.ports import Position
from pipeline.store import FRESH, CheckpointStore, Folder, Fresh, Load, Refuse, choose, open_store
from pipeline.store.files import open_file_system
from pipeline.store.paths import MANIFEST, STATE

TOPIC_ID, OLD_ID = "newTopicId", "oldTopicId"
NUMERICS: dict[str, str | int] = {"torch": "2.13.0", "device": "AVX2", "threads": 1}


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str) -> CheckpointStore:
    return open_store(url, "plant", "readings")


def write(
    store: CheckpointStore,
    offset: int,
    *,
    topic_id: str = TOPIC_ID,
    partition: int = 0,
    num_partitions: int = 4,
) -> Position:
    facts = {"num_partitions": num_partitions, "numerics": NUMERICS}
    state = {"offset": torch.tensor(offset)}
    return Position(offset=offset, metadata=store.write(topic_id, partition, offset, state, facts))


def damage(url: str, position: Position, name: str = STATE, data: bytes | None = b"damaged") -> None:
    """Overwrite a file of a checkpoint; None: take it away."""
    folder = Folder(next_offset=position.offset, uuid=position.metadata.partition(":")[0])
    fs, path = open_file_system(f"{url}/plant/readings/{TOPIC_ID}/0/{folder}/{name}")
    if data is None:
        fs.rm_file(path)
        return
    with fs.open(path, "wb") as file:
        file.write(data)


def pick(store: CheckpointStore, committed: Position | None, **given: object) -> Load | Fresh | Refuse:
    settings = {
        "topic_id": TOPIC_ID,
        "partition": 0,
        "num_partitions": 4,
        "start": "earliest",
        "numerics": NUMERICS,
    }
    return choose(store, committed, **(settings | given))  # type: ignore[arg-type]


def loaded(choice: Load | Fresh | Refuse) -> tuple[int, str]:
    """(offset of the state, the notes as one text)."""
    assert isinstance(choice, Load), choice
    assert int(choice.checkpoint.state["offset"]) == choice.checkpoint.manifest.next_offset
    return choice.checkpoint.manifest.next_offset, "\n".join(choice.notes)


def refused(choice: Load | Fresh | Refuse) -> str:
    assert isinstance(choice, Refuse), choice
    return choice.reason


def test_the_named_one_is_taken_in_silence(store: CheckpointStore) -> None:
    write(store, 10)
    committed = write(store, 20)
    write(store, 20)  # of a worker that slept: the same offset, named by nobody
    write(store, 30)
    choice = pick(store, committed)
    assert loaded(choice) == (20, "")
    assert isinstance(choice, Load)
    assert choice.checkpoint.manifest.metadata == committed.metadata


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (STATE, b"damaged", "has 7 bytes, but"),
        (STATE, None, "is missing"),
        (MANIFEST, b"{", "is no JSON"),
        (MANIFEST, b'{"format": 2, "software": "8.0"}', "format 2, written by Gatecast 8.0"),
        (MANIFEST, None, "its write was never finished"),
    ],
)
def test_an_unreadable_named_one_falls_back_aloud(
    store: CheckpointStore, url: str, name: str, data: bytes | None, reason: str
) -> None:
    for offset in (5, 10):
        write(store, offset)
    committed = write(store, 20)
    write(store, 25)
    damage(url, committed, name, data)
    offset, notes = loaded(pick(store, committed))
    assert offset == 10
    assert "partition 0 of topic readings: the committed checkpoint 20-" in notes
    assert reason in notes
    assert "reading on from offset 10 instead of 20" in notes


def test_the_newest_whole_one_below_is_taken_and_those_passed_over_are_named(
    store: CheckpointStore, url: str
) -> None:
    write(store, 5)
    broken = write(store, 10)
    committed = write(store, 20)
    damage(url, broken)
    damage(url, committed)
    offset, notes = loaded(pick(store, committed))
    assert offset == 5
    assert notes.count("can't be taken") == 2
    assert "checkpoint 10-" in notes


def test_a_hash_other_than_the_committed_one_is_not_the_named_one(store: CheckpointStore) -> None:
    write(store, 10)
    committed = write(store, 20)
    other = Position(
        offset=20, metadata=committed.metadata[:-1] + ("0" if committed.metadata[-1] != "0" else "1")
    )
    offset, notes = loaded(pick(store, other))
    assert offset == 10
    assert "its SHA-256 is not the one that was committed" in notes


def test_nothing_whole_below_is_refused(store: CheckpointStore, url: str) -> None:
    committed = write(store, 20)
    write(store, 30)
    damage(url, committed)
    reason = refused(pick(store, committed))
    assert "the committed checkpoint 20-" in reason
    assert "there is no whole one below to take; put one back into" in reason
    assert "to start fresh, take that folder away and delete the committed offset of group plant" in reason


def test_all_checkpoints_lost_is_refused(store: CheckpointStore) -> None:
    gone = Position(offset=20, metadata=f"{'a' * 32}:{'b' * 64}")
    assert "there is no whole one below to take" in refused(pick(store, gone))


@pytest.mark.parametrize("metadata", ["", "reset by kafka-ui", "a" * 32])
@pytest.mark.parametrize(("offset", "taken"), [(20, 20), (19, 10), (1_000, 30)])
def test_an_offset_without_a_name_takes_the_newest_at_or_below_aloud(
    store: CheckpointStore, metadata: str, offset: int, taken: int
) -> None:
    for written in (10, 20, 30):
        write(store, written)
    found, notes = loaded(pick(store, Position(offset=offset, metadata=metadata)))
    assert found == taken
    assert f"the committed offset {offset} names no checkpoint" in notes
    assert "as after a reset by an operator" in notes
    assert repr(metadata) in notes or not metadata


@pytest.mark.parametrize("offset", [0, 9])
def test_an_offset_without_a_name_below_all_is_refused(store: CheckpointStore, offset: int) -> None:
    write(store, 10)
    reason = refused(pick(store, Position(offset=offset)))
    assert "there is no whole one at or below to take" in reason


def test_checkpoints_without_an_offset_wait_to_be_adopted(store: CheckpointStore, url: str) -> None:
    write(store, 10)
    newest = write(store, 20)
    for name, data in ((STATE, b"x"), (MANIFEST, b"{"), (MANIFEST, b'{"format": 9}')):
        reason = refused(pick(store, None))
        assert "group plant has no committed offset there" in reason
        assert "run `gatecast checkpoints adopt --partition 0`" in reason
        damage(url, newest, name, data)
    assert "the newest is 20-" in refused(pick(store, None))


def test_a_half_written_first_one_is_no_checkpoint(store: CheckpointStore, url: str) -> None:
    damage(url, write(store, 10), MANIFEST, None)
    assert pick(store, None) == Fresh(start="earliest")


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_neither_starts_fresh(store: CheckpointStore, start: str) -> None:
    write(store, 10, partition=1)
    assert pick(store, None, start=start) == Fresh(start=start)  # type: ignore[arg-type]


def test_a_fresh_start_that_was_committed_starts_there_again(store: CheckpointStore) -> None:
    """Killed between the first checkpoint and its commit."""
    write(store, 60)
    assert pick(store, Position(offset=50, metadata=FRESH), start="latest") == Fresh(start=50)


@pytest.mark.parametrize(
    "committed", [None, Position(offset=20), Position(offset=20, metadata=f"{'a' * 32}:{'b' * 64}")]
)
def test_a_topic_made_anew_is_refused(store: CheckpointStore, committed: Position | None) -> None:
    write(store, 10, topic_id=OLD_ID)
    write(store, 20, topic_id=OLD_ID, partition=1)
    reason = refused(pick(store, committed))
    assert (
        "has topic id newTopicId, but the checkpoints are of oldTopicId: the topic was deleted and made anew"
        in reason
    )
    assert "to start fresh, take " in reason
    assert "or set another kafka.group" in reason


def test_an_old_topic_beside_checkpoints_of_this_one_does_no_harm(store: CheckpointStore) -> None:
    write(store, 10, topic_id=OLD_ID)
    assert loaded(pick(store, write(store, 20))) == (20, "")


@pytest.mark.parametrize("now", [3, 8])
def test_another_number_of_partitions_is_refused(store: CheckpointStore, now: int) -> None:
    committed = write(store, 20)
    way_out = "set another kafka.group to start fresh, or read from a topic with 4 partitions"
    for position in (committed, Position(offset=20), None):
        reason = refused(pick(store, position, num_partitions=now))
        assert f"topic readings has {now} partitions, but its checkpoints were written with 4" in reason
        assert way_out in reason


def test_a_partition_that_is_new_is_refused_too(store: CheckpointStore, url: str) -> None:
    """Partition 7 has no checkpoints, but series that lived in the others may now come here."""
    write(store, 10)
    damage(url, write(store, 20), MANIFEST, b"{")
    assert "so series may have moved between shards" in refused(
        pick(store, None, partition=7, num_partitions=8)
    )


@pytest.mark.parametrize(("key", "value"), [("torch", "2.14.0"), ("device", "NVIDIA H100"), ("threads", 2)])
def test_other_numerics_are_taken_aloud(store: CheckpointStore, key: str, value: str | int) -> None:
    offset, notes = loaded(pick(store, write(store, 20), numerics={**NUMERICS, key: value}))
    assert offset == 20
    assert f"written with other numerics ({key} {NUMERICS[key]} → {value})" in notes
    assert "may differ in last bits" in notes


def test_choosing_changes_nothing(store: CheckpointStore, url: str) -> None:
    committed = write(store, 20)
    damage(url, committed)
    fs, root = open_file_system(url)
    before = {path: fs.cat_file(path) for path in fs.find(root)}
    for position in (committed, None, Position(offset=5)):
        pick(store, position)
    assert {path: fs.cat_file(path) for path in fs.find(root)} == before
