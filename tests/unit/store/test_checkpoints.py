"""What is written comes back; what was damaged is never taken."""

from __future__ import annotations

import errno
import os
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
import safetensors.torch
import torch
from fsspec.implementations.local import LocalFileOpener
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ports import Position
from pipeline.store import CheckpointStore, Folder, Manifest, UnreadableError, WrongFormatError, open_store
from pipeline.store import find_checkpoints as find
from pipeline.store.files import open_file_system
from pipeline.store.manifests import format_manifest, parse_manifest
from pipeline.store.paths import MANIFEST, STATE, encode_name, parse_folder
from pipeline.store.tensors import serialise

TOPIC_ID = "R8ERw2KKS0i8XcZKQXRiOw"
FACTS = {
    "num_partitions": 4,
    "signatures": {"rings": "length=56"},
    "counts": {"series": 3, "readings_learned": 77},
    "numerics": {"torch": "2.13.0", "device": "AVX2", "threads": 1},
}


def make_state(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "series.last": torch.randn(3, generator=generator),
        "rings.features": torch.randn(3, 5, 2, generator=generator).to(torch.float16),
        "origin": torch.randn(3, generator=generator, dtype=torch.float64),
        "steps": torch.arange(3),
        "generator": torch.arange(7, dtype=torch.uint8),
        "valid": torch.tensor([True, False, True]),
        "updates": torch.tensor(12),
        "nothing": torch.zeros(0, 4),
        "turned": torch.arange(6.0).view(2, 3).t(),
    }


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "new" / "place") if request.param == "local" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str) -> CheckpointStore:
    return open_store(url, "gatecast", "gatecast.readings")


def write(store: CheckpointStore, offset: int, partition: int = 0, seed: int = 0) -> Position:
    name = store.write(TOPIC_ID, partition, offset, make_state(seed), FACTS)
    return Position(offset=offset, metadata=name)


def folder_of(position: Position) -> Folder:
    return Folder(next_offset=position.offset, uuid=position.metadata.partition(":")[0])


def path_of(url: str, position: Position, name: str, partition: int = 0) -> str:
    return f"{url}/gatecast/gatecast.readings/{TOPIC_ID}/{partition}/{folder_of(position)}/{name}"


def change(path: str, data: bytes) -> None:
    with fsspec.open(path, "wb") as file:
        file.write(data)


def read(path: str) -> bytes:
    with fsspec.open(path, "rb") as file:
        return bytes(file.read())


def remove(path: str) -> None:
    fs, place = open_file_system(path)
    fs.rm_file(place)


def test_what_is_written_comes_back_bit_for_bit(store: CheckpointStore, url: str) -> None:
    position = write(store, 1200, partition=3)
    found = store.load(TOPIC_ID, 3, folder_of(position))
    state = make_state()
    assert found.state.keys() == state.keys()
    for name, tensor in state.items():
        assert found.state[name].dtype == tensor.dtype
        assert torch.equal(found.state[name], tensor)
    about = found.manifest
    assert (about.topic, about.topic_id, about.partition) == ("gatecast.readings", TOPIC_ID, 3)
    assert (about.next_offset, about.num_partitions, about.group) == (1200, 4, "gatecast")
    assert about.counts == FACTS["counts"]
    assert about.signatures == FACTS["signatures"]
    assert about.numerics == FACTS["numerics"]
    assert about.metadata == position.metadata
    assert about.state_bytes == len(read(path_of(url, position, STATE, 3)))
    assert abs(about.written_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert store.verify(TOPIC_ID, 3, folder_of(position)) == about


def test_facts_have_numerics_by_default_and_are_checked(store: CheckpointStore) -> None:
    name = store.write(TOPIC_ID, 0, 5, make_state(), {"num_partitions": 1})
    manifest = store.read_manifest(TOPIC_ID, 0, Folder(next_offset=5, uuid=name.partition(":")[0]))
    assert manifest.numerics["torch"] == torch.__version__
    assert manifest.numerics["threads"] == 1
    for facts, sentence in (
        ({"num_partitions": 1, "serie": 3}, "facts: expected some of num_partitions, .* got 'serie'"),
        ({}, "missing required field `num_partitions`"),
        ({"num_partitions": "4"}, "Expected `int`, got `str` - at `\\$.num_partitions`"),
    ):
        with pytest.raises(ValueError, match=sentence):
            store.write(TOPIC_ID, 0, 6, make_state(), facts)
    assert [f.next_offset for f in store.list_folders(TOPIC_ID, 0)] == [5]


def test_a_dtype_that_the_format_lacks_is_refused_and_leaves_nothing(store: CheckpointStore) -> None:
    with pytest.raises(ValueError, match="odd: expected a dtype that safetensors has, got"):
        store.write(TOPIC_ID, 0, 5, {"odd": torch.zeros(2, dtype=torch.complex64)}, FACTS)
    assert all(f.next_offset != 5 for f in store.list_folders(TOPIC_ID, 0))


def test_the_library_reads_our_bytes() -> None:
    data = b"".join(serialise(make_state()))
    found = safetensors.torch.load(data)
    for name, tensor in make_state().items():
        assert torch.equal(found[name], tensor)
    header = int.from_bytes(data[:8], "little")
    assert header % 8 == 0, "tensors lie aligned, as the library writes them"


GROUPS = ["a/b", "..", ".", "plant ü 7", "what? *[x]#%", "-", "~", "x" * 249, "a\\b", "A", "a"]


@pytest.mark.parametrize("group", GROUPS)
def test_odd_names_stay_below_the_url_and_come_back(group: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    store = open_store(str(base), group, "topic:1/ä")
    position = Position(offset=3, metadata=store.write(TOPIC_ID, 0, 3, make_state(), FACTS))
    assert store.load(TOPIC_ID, 0, folder_of(position)).manifest.group == group
    files = [p.relative_to(base).parts for p in base.rglob("*") if p.is_file()]
    assert {len(parts) for parts in files} == {6}
    assert [p.name for p in tmp_path.iterdir()] == ["base"]
    assert store.list_topic_ids() == [TOPIC_ID]


def test_different_names_are_different_folders() -> None:
    names = [*GROUPS, "x" * 248 + "y", "a%2Fb", "%2E%2E", "%2E"]
    assert len({encode_name(name) for name in names}) == len(names)
    with pytest.raises(ValueError, match="expected the name of a group or topic, got an empty one"):
        encode_name("")


@pytest.mark.parametrize(
    "name", ["12", "12-", "-3-" + "a" * 32, "12-" + "g" * 32, "x12-" + "a" * 32, "12-" + "a" * 33]
)
def test_other_folders_are_no_checkpoints(name: str) -> None:
    assert parse_folder(name) is None


def test_folders_come_by_offset_as_a_number(store: CheckpointStore) -> None:
    for offset in (100, 20, 3):
        write(store, offset)
    assert [f.next_offset for f in store.list_folders(TOPIC_ID, 0)] == [3, 20, 100]
    assert store.list_partitions(TOPIC_ID) == [0]
    assert store.list_folders(TOPIC_ID, 9) == []
    assert store.list_topic_ids() == [TOPIC_ID]


def test_a_url_that_nothing_reads() -> None:
    with pytest.raises(
        ValueError, match=r"expected a folder or a URL that fsspec knows, .* got 'nosuch://x'"
    ):
        open_store("nosuch://x", "g", "t")


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_state_is_not_taken(store: CheckpointStore, url: str, keep: int) -> None:
    position = write(store, 10)
    whole = read(path_of(url, position, STATE))
    change(path_of(url, position, STATE), whole[:keep])
    for take in (store.load, store.verify):
        with pytest.raises(UnreadableError, match=r"state.safetensors has \d+ bytes, but \d+ were written"):
            take(TOPIC_ID, 0, folder_of(position))


@pytest.mark.parametrize("name", [STATE, MANIFEST])
def test_a_missing_file_is_not_taken(store: CheckpointStore, url: str, name: str) -> None:
    position = write(store, 10)
    remove(path_of(url, position, name))
    expected = (
        "no manifest, so its write was never finished" if name == MANIFEST else "state.safetensors is missing"
    )
    for take in (store.load, store.verify):
        with pytest.raises(UnreadableError, match=expected):
            take(TOPIC_ID, 0, folder_of(position))


@pytest.mark.parametrize("keep", [0, 1, 50, -3])
def test_a_truncated_manifest_is_not_taken(store: CheckpointStore, url: str, keep: int) -> None:
    position = write(store, 10)
    change(path_of(url, position, MANIFEST), read(path_of(url, position, MANIFEST))[:keep])
    with pytest.raises(UnreadableError, match="its manifest is no JSON"):
        store.load(TOPIC_ID, 0, folder_of(position))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from([STATE, MANIFEST]), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found(data: st.DataObject, name: str, bit: int) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    store = open_store(url, "gatecast", "gatecast.readings")
    position = write(store, 10)
    written = store.read_manifest(TOPIC_ID, 0, folder_of(position))
    content = bytearray(read(path_of(url, position, name)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << bit
    change(path_of(url, position, name), bytes(content))
    try:
        found = store.load(TOPIC_ID, 0, folder_of(position))
    except UnreadableError:
        return
    # white space between the tokens of the manifest
    assert name == MANIFEST
    assert found.manifest == written
    assert all(torch.equal(found.state[key], tensor) for key, tensor in make_state().items())


def test_a_manifest_of_another_format_names_both_versions(store: CheckpointStore, url: str) -> None:
    position = write(store, 10)
    path = path_of(url, position, MANIFEST)
    change(path, read(path).replace(b'"format": 1', b'"format": 3').replace(b'"0.1.0"', b'"9.9.0"'))
    with pytest.raises(
        WrongFormatError, match=r"format 3, written by Gatecast 9\.9\.0, but this version reads format 1"
    ):
        store.load(TOPIC_ID, 0, folder_of(position))


@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"format": "1"}', b"null", b'{"format": 1}'])
def test_json_that_is_no_manifest(text: bytes) -> None:
    with pytest.raises(UnreadableError, match="its manifest"):
        parse_manifest(text)


def test_a_manifest_that_lies_elsewhere_is_not_taken(store: CheckpointStore, url: str) -> None:
    """A folder that somebody copied to another partition, or renamed."""
    position = write(store, 10)
    moved = Position(offset=99, metadata=position.metadata)
    for name in (STATE, MANIFEST):
        data = read(path_of(url, position, name))
        for path in (path_of(url, position, name, 1), path_of(url, moved, name)):
            fs, place = open_file_system(path)
            fs.makedirs(place.rpartition("/")[0], exist_ok=True)
            change(path, data)
    for partition, there in ((1, position), (0, moved)):
        with pytest.raises(UnreadableError, match="its manifest is of another place"):
            store.load(TOPIC_ID, partition, folder_of(there))


def test_a_manifest_comes_back_as_it_was(store: CheckpointStore) -> None:
    manifest = store.read_manifest(TOPIC_ID, 0, folder_of(write(store, 7)))
    assert isinstance(manifest, Manifest)
    assert parse_manifest(format_manifest(manifest)) == manifest


class Faulty:
    """Makes writes of a local file fail after so many bytes, as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 1 << 40
        original = LocalFileOpener.write

        def write(opener: Any, data: Any) -> Any:
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), opener.path)
            return original(opener, data)

        monkeypatch.setattr(LocalFileOpener, "write", write)


@pytest.mark.parametrize("room", [0, 1, 500, 1_000, 1_200])
def test_a_full_disk_is_an_oserror_and_takes_nothing_half(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path), "gatecast", "gatecast.readings")
    first = write(store, 10)
    disk = Faulty(monkeypatch)
    disk.left = room
    with pytest.raises(OSError, match="No space left on device"):
        write(store, 20)
    assert store.list_folders(TOPIC_ID, 0) == [folder_of(first)]
    assert store.load(TOPIC_ID, 0, folder_of(first)).manifest.next_offset == 10
    disk.left = 1 << 40
    assert store.load(TOPIC_ID, 0, folder_of(write(store, 20))).manifest.next_offset == 20


def test_a_process_that_dies_while_writing_leaves_nothing_to_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `a_full_disk`, but nobody cleans up: the folder stays half-written."""
    store = open_store(str(tmp_path), "gatecast", "gatecast.readings")
    disk = Faulty(monkeypatch)
    monkeypatch.setattr(CheckpointStore, "_remove", lambda self, folder: None)
    for room in (0, 700, 1_000):
        disk.left = room
        with pytest.raises(OSError, match="No space"):
            write(store, 20)
    left = store.list_folders(TOPIC_ID, 0)
    assert len(left) == 3
    for folder in left:
        with pytest.raises(UnreadableError):
            store.load(TOPIC_ID, 0, folder)


def test_a_folder_that_cannot_be_made_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    store = open_store(str(tmp_path / "file"), "g", "t")
    with pytest.raises(OSError, match="file"):
        write(store, 1)


def test_a_local_checkpoint_is_on_disk_before_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    store = open_store(str(tmp_path / "a"), "g", "t")
    position = Position(offset=1, metadata=store.write(TOPIC_ID, 0, 1, make_state(), FACTS))
    folder = tmp_path / "a" / "g" / "t" / TOPIC_ID / "0" / str(folder_of(position))
    above = [str(parent) for parent in folder.parents if parent.is_relative_to(tmp_path)]
    assert set(above) <= set(synced), "the names of new folders last"
    assert synced[-4:] == [str(folder / STATE), str(folder), str(folder / MANIFEST), str(folder)]


def test_writers_at_the_same_time_never_collide(store: CheckpointStore, url: str) -> None:
    names: list[Position] = []

    def work(seed: int) -> None:
        other = open_store(url, store.group, store.topic)
        names.extend(write(other, 50, seed=seed) for _ in range(5))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.list_folders(TOPIC_ID, 0)) == len({n.metadata for n in names}) == 20
    for position in names:
        assert store.load(TOPIC_ID, 0, folder_of(position)).manifest.metadata == position.metadata


@pytest.fixture
def shelf(url: str) -> str:
    for group, topic in (("one", "t"), ("two", "t"), ("two", "u/v")):
        store = open_store(url, group, topic)
        for partition in (0, 1):
            write(store, 5, partition)
    return url


def test_everything_below_a_url_is_found(shelf: str) -> None:
    found = list(find(shelf))
    assert [(f.group, f.topic, f.partition) for f in found] == [
        (g, t, p) for g, t in (("one", "t"), ("two", "t"), ("two", "u/v")) for p in (0, 1)
    ]
    assert not any(f.problem for f in found)
    assert [f.topic for f in find(shelf, "two", "u/v")] == ["u/v", "u/v"]
    assert list(find(shelf, "three")) == []
    broken = found[0]
    change(f"{shelf}/one/t/{TOPIC_ID}/0/{broken.folder}/{STATE}", b"x")
    assert [f.problem != "" for f in find(shelf)] == [False] * 6, "reads manifests only"
    assert [f.problem != "" for f in find(shelf, verify=True)] == [True] + [False] * 5
