"""Whether a broker can be had here, and what is said if not; nothing is started or fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.demo import kafka_server
from pipeline.demo.kafka_server import ServerError, fetch_jars, find_java_obstacle, find_obstacle

SAID = 'openjdk version "{}" 2025-04-15\nOpenJDK Runtime Environment (build …)\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder of the PATH; there are no jars."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(kafka_server, "CACHE", tmp_path / "jars")
    find_java_obstacle.cache_clear()
    yield tmp_path / "bin"
    find_java_obstacle.cache_clear()


def add_program(folder: Path, name: str, says: str = "") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{says}END\n".replace("cat", "/bin/cat"))
    path.chmod(0o755)


def test_without_java_and_maven_both_are_named(folder: Path) -> None:
    with pytest.raises(ServerError) as error:
        fetch_jars()
    assert str(error.value) == (
        "no Java and no Maven (mvn): Kafka's jars are fetched by Maven 3 on Java 17 or later "
        "(Debian: apt-get install openjdk-17-jre-headless maven)"
    )
    assert find_obstacle() == (
        "no Java: install Java 17 or later, or set KAFKA_BOOTSTRAP to a broker for tests"
    )


@pytest.mark.parametrize(("version", "major"), [("1.8.0_392", 8), ("11.0.25", 11)])
def test_an_old_java_is_named(folder: Path, version: str, major: int) -> None:
    add_program(folder, "java", SAID.format(version))
    assert (find_obstacle() or "").startswith(f"Java {major} is too old: install Java 17 or later")


@pytest.mark.parametrize("version", ["17.0.15", "21", "25-ea"])
def test_with_a_java_that_will_do_the_jars_are_missing(folder: Path, version: str) -> None:
    add_program(folder, "java", SAID.format(version))
    assert "`make kafka` fetches it with Maven" in (find_obstacle() or "")
    with pytest.raises(ServerError, match=r"^no Maven \(mvn\): Kafka's jars"):
        fetch_jars()


def test_a_failed_download_leaves_no_folder(folder: Path) -> None:
    add_program(folder, "java", SAID.format("17.0.15"))
    (folder / "mvn").write_text("#!/bin/sh\nexit 1\n")
    (folder / "mvn").chmod(0o755)
    with pytest.raises(ServerError, match="it ended with 1; its last lines say why"):
        fetch_jars()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["bin"]


def test_jars_that_are_there_are_not_fetched_again(folder: Path) -> None:
    jars = folder.parent / "jars"
    jars.mkdir()
    (jars / "kafka_2.13-4.4.0.jar").touch()
    assert fetch_jars() == jars
