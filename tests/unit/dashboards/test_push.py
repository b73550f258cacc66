"""`gatecast dashboards push` and `check --url`: what is asked of Grafana, and what its answers become."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from dashboards.boards.build import BOARDS, build_boards
from dashboards.grafana import Grafana, GrafanaError
from dashboards.thresholds import read_thresholds
from pipeline.cli import main
from tests.unit.dashboards.grafana_double import PASSWORD, TOKEN, USER, FakeGrafana, serve

UIDS = {f"gatecast-{name}" for name in BOARDS}


@pytest.fixture
def grafana() -> Iterator[FakeGrafana]:
    with serve() as server:
        yield server


def call(*arguments: str, **variables: str) -> Result:
    return CliRunner(env={"GRAFANA_TOKEN": TOKEN, **variables}).invoke(main, ["dashboards", *arguments])


def test_push_makes_folder_and_dashboards_and_a_second_one_changes_nothing(grafana: FakeGrafana) -> None:
    first = call("push", "--url", grafana.url)
    assert (first.exit_code, grafana.folders) == (0, {"gatecast": "Gatecast"}), first.output
    assert set(grafana.dashboards) == UIDS
    assert first.output.count("written") == len(UIDS)
    second = call("push", "--url", grafana.url)
    assert second.output.count("as it should be") == len(UIDS)
    assert {board["version"] for board in grafana.dashboards.values()} == {1}


def test_a_dashboard_that_somebody_changed_is_written_again(grafana: FakeGrafana) -> None:
    call("push", "--url", grafana.url)
    grafana.dashboards["gatecast-series"]["title"] = "mine"
    checked = call("check", "--url", grafana.url)
    assert checked.exit_code == 1
    assert "gatecast-series: different" in checked.output
    assert "expected 4 dashboards as they are here, but 1 are not" in checked.output
    call("push", "--url", grafana.url)
    assert call("check", "--url", grafana.url).exit_code == 0
    assert grafana.dashboards["gatecast-series"]["version"] == 2


def test_check_says_what_is_missing(grafana: FakeGrafana) -> None:
    done = call("check", "--url", grafana.url)
    assert done.exit_code == 1
    assert done.output.count("missing") == len(UIDS)


def test_user_and_password_and_a_path_below(tmp_path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    with serve("/grafana") as grafana:
        done = call(
            "push", "--url", f"{grafana.url}/", "--user", USER, "--password-file", str(tmp_path / "password"),
            GRAFANA_TOKEN="",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        assert set(grafana.dashboards) == UIDS


def test_the_folder_may_have_been_made_by_another_in_between(grafana: FakeGrafana) -> None:
    client = Grafana(grafana.url, TOKEN)
    assert client.make_folder("Gatecast")
    assert not client.make_folder("Gatecast")
    grafana.refuse["GET", "/folders/other"] = 404, {"message": "folder not found"}
    with pytest.raises(
        GrafanaError, match="a folder named 'Gatecast' already that is not ours; name another"
    ):
        client.make_folder("Gatecast", "other")


def test_an_answer_without_a_body_is_no_failure(grafana: FakeGrafana) -> None:
    """grafana-api raises on 204 although it is done."""
    grafana.refuse["POST", "/folders"] = 204, None
    assert Grafana(grafana.url, TOKEN).make_folder("Gatecast")


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (401, "Invalid API key", "the token or password is not accepted"),
        (403, "You'll need additional permissions", "the account needs role Editor"),
        (404, "Not found", "is this the address of a Grafana"),
        (412, "The dashboard has been changed by someone else", "can't be overwritten"),
        (400, "Cannot save provisioned dashboard", "was provisioned from a file there"),
        (500, "Failed to save dashboard", "answered 500: Failed to save dashboard"),
    ],
)
def test_refusals_become_sentences_with_a_way_out(
    grafana: FakeGrafana, status: int, message: str, said: str
) -> None:
    grafana.refuse["POST", "/dashboards/db"] = status, {"message": message}
    done = call("push", "--url", grafana.url)
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output


def test_wrong_tokens_and_wrong_addresses(grafana: FakeGrafana) -> None:
    assert "is not accepted" in call("push", "--url", grafana.url, GRAFANA_TOKEN="other").output
    login = call("push", "--url", f"{grafana.url}/login")
    assert "is this the address of a Grafana" in login.output
    assert login.exit_code == 1
    assert "expected the address of a Grafana" in call("push", "--url", "grafana.plant.example").output
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert "check the address and whether it is up" in call("push", "--url", nobody).output


def test_without_a_way_to_log_in_nothing_is_asked(grafana: FakeGrafana) -> None:
    done = call("push", "--url", grafana.url, GRAFANA_TOKEN="")
    assert done.exit_code == 2
    assert "expected a way to log in" in done.output
    missing = call("push", "--url", grafana.url, "--token-file", "/nowhere/token")
    assert "/nowhere/token: expected a readable file with a secret" in missing.output
    assert grafana.requests == []


def test_what_is_pushed_is_what_lies_in_the_files(grafana: FakeGrafana) -> None:
    call("push", "--url", grafana.url)
    for text in build_boards(read_thresholds()).values():
        board = json.loads(text)
        assert {**grafana.dashboards[board["uid"]], "id": None, "version": None} == {
            **board, "id": None, "version": None,
        }  # fmt: skip
