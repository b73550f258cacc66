"""What Alertmanager makes of alerts with the shipped routes and texts: who is told what, and how often."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.stack.inbox import Hook, Mailbox
from tests.stack.servers import Alertmanager

WAIT_S = 30.0
STARTED = datetime(2026, 11, 24, 2, 12, 40, tzinfo=UTC)  # 03:12:40 in Berlin


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


@pytest.fixture
def alertmanager(mailbox: Mailbox, hook: Hook, tmp_path: Path) -> Iterator[Alertmanager]:
    """Waits a second for more alerts of a group, and one until it tells more; shipped are 10 s and 60 s."""
    server = Alertmanager(tmp_path, smtp=mailbox.address, hook=hook.url, changes=_hasten)
    server.start()
    yield server
    server.stop()


def _hasten(config: dict[str, Any]) -> None:
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}


def sensor(series: str, *, over: bool = False, **labels: str) -> dict[str, Any]:
    """An alert as Prometheus sends it by the rule GatecastSensorAlert."""
    place = {"site": "Nord", "area": "Reactor 2", "owner": "process", "severity": "page", "kind": "anomaly"}
    annotations = {
        "summary": f"{series} above expected",
        "description": f"Series {series} is at 93.43 °C.",
        "name": series,
        "value": "93.43 °C",
        "expected": "81.2 °C (78.9 … 83.5)",
        "since": "Tue 24 Nov 03:12:05 CET",
        "score": "1.31; 1.0 pages",
        "quality": "good",
        "learned": "52341 readings",
        "others": "PI-9 (silent)",
        "runbook_url": "http://runbooks/GatecastSensorAlert.md",
        "dashboard_url": "http://grafana/d/gatecast-series?var-series=TI%204711&from=1795394263000&to=now",
        "silence_filter": "%7Bseries%3D%22TI%204711%22%7D",
    }
    if over:
        annotations["ended"] = "back to normal, Tue 24 Nov 04:02:11 CET"
    labels = {"alertname": "GatecastSensorAlert", "series": series, **place, **labels}
    started = datetime.now(UTC) - timedelta(minutes=over)  # before its end
    return alert(labels, annotations, started, over=over)


def alert(
    labels: Mapping[str, str], annotations: Mapping[str, str], started: datetime, over: bool = False
) -> dict[str, Any]:
    """A group with an alert that began longer ago than a group waits is told at once, and of that alone."""
    end = datetime.now(UTC) + timedelta(seconds=-1 if over else 600)
    return {
        "labels": dict(labels),
        "annotations": dict(annotations),
        "startsAt": started.isoformat(),
        "endsAt": end.isoformat(),
    }


def send(alertmanager: Alertmanager, *alerts: Mapping[str, Any]) -> None:
    request = urllib.request.Request(
        f"{alertmanager.url}/api/v2/alerts",
        json.dumps(alerts).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


TEXT = """\
Nord / Reactor 2: TI-4711 above expected

TI-4711 above expected
  value     93.43 °C
  expected  81.2 °C (78.9 … 83.5)
  since     Tue 24 Nov 03:12:05 CET
  score     1.31; 1.0 pages
  quality   good
  learnt    52341 readings
  series    TI-4711
  also here PI-9 (silent)
  look      http://grafana/d/gatecast-series?var-series=TI%204711&from=1795394263000&to=now
  do this   http://runbooks/GatecastSensorAlert.md
  silence   http://alertmanager.plant.example:9093/#/silences/new?filter=%7Bseries%3D%22TI%204711%22%7D"""
OVER = """\
Nord / Reactor 2: TI-4711 above expected

TI-4711 above expected: RESOLVED
  back to normal, Tue 24 Nov 04:02:11 CET
  look      http://grafana/d/gatecast-series?var-series=TI%204711&from=1795394263000&to=now"""


def test_the_message_at_night_and_the_one_that_it_is_over(
    alertmanager: Alertmanager, mailbox: Mailbox
) -> None:
    send(alertmanager, sensor("TI-4711"))
    mail = mailbox.wait_for("[PAGE] Nord / Reactor 2: TI-4711 above expected", WAIT_S)
    assert mail.text.replace("\r", "").strip() == TEXT
    assert mail.to == ("night-shift@localhost",)
    for part in (
        'href="http://grafana/d/gatecast-series?var-series=TI%204711&amp;from=1795394263000&amp;to=now"',
        'href="http://alertmanager.plant.example:9093/#/silences/new?filter=%7Bseries%3D%22TI%204711%22%7D"',
    ):
        assert part in mail.html
    send(alertmanager, sensor("TI-4711", over=True))
    over = mailbox.wait_for("[RESOLVED] Nord / Reactor 2: TI-4711 above expected", WAIT_S)
    assert over.text.replace("\r", "").strip() == OVER
    assert len(mailbox.mails) == 2


def test_five_sensors_of_an_area_are_one_message(alertmanager: Alertmanager, mailbox: Mailbox) -> None:
    send(alertmanager, *(sensor(f"TI-{n}") for n in range(5)), sensor("TI-9", area="Boiler house"))
    one = mailbox.wait_for("Nord / Reactor 2: ", WAIT_S)
    assert one.subject.endswith(" above expected, and 4 more")
    assert all(f"series    TI-{n}" in one.text for n in range(5))
    mailbox.wait_for("[PAGE] Nord / Boiler house: TI-9 above expected", WAIT_S)
    assert len(mailbox.mails) == 2


def test_a_flood_is_a_list_that_a_phone_can_show(alertmanager: Alertmanager, mailbox: Mailbox) -> None:
    send(alertmanager, *(sensor(f"TI-{n:03}") for n in range(200)))
    mail = mailbox.wait_for("and 199 more", WAIT_S)
    assert mail.text.count("  series    ") == 5
    assert all(f"TI-{n:03} above expected" in mail.text for n in range(200))
    assert len(mail.html) < 100_000, "mail programs cut what is longer"


def test_while_no_worker_answers_no_sensor_does(alertmanager: Alertmanager, mailbox: Mailbox) -> None:
    absent = alert(
        {"alertname": "GatecastWorkerAbsent", "severity": "page"},
        {"summary": "No worker answers", "description": "For 2m.", "runbook_url": "http://runbooks/A.md"},
        STARTED,
    )
    send(alertmanager, absent)
    mail = mailbox.wait_for("[PAGE] No worker answers", WAIT_S)
    lines = [line.strip() for line in mail.text.splitlines()]
    assert "since     Tue 24 Nov 03:12:40 CET" in lines
    assert (
        "silence   http://alertmanager.plant.example:9093/#/silences/new?"
        "filter=%7Balertname%3D%22GatecastWorkerAbsent%22%7D"
    ) in lines
    send(alertmanager, sensor("TI-1"))
    time.sleep(3)  # three times as long as a group waits
    send(alertmanager, sensor("TI-1", over=True))
    time.sleep(2)
    assert [mail.subject for mail in mailbox.mails] == ["[PAGE] No worker answers"]


def test_owners_and_severities_have_their_ways(
    alertmanager: Alertmanager, mailbox: Mailbox, hook: Hook
) -> None:
    """Slack's channel gets what its commands are made of as text."""
    hostile = "<!channel> & *TI*"
    send(
        alertmanager,
        sensor(hostile, owner="shift-lead"),
        sensor("TI-2", owner="maintenance-system", area="Store"),
        sensor("TI-3", severity="ticket", area="Yard"),
        sensor("TI-4", severity="info", area="Gate"),
    )
    assert mailbox.wait_for("Yard", WAIT_S).to == ("operations@localhost",)
    assert mailbox.find("Yard")[0].subject == "[TICKET] Nord / Yard: TI-3 above expected"
    mail = mailbox.wait_for("Reactor 2", WAIT_S)
    assert mail.to == ("shift-lead@localhost",)
    assert "&lt;!channel&gt; &amp; *TI* above expected" in mail.html
    assert "<!channel>" not in mail.html
    deadline = time.monotonic() + WAIT_S
    while len(hook.calls) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    calls = {call.path: call.body for call in hook.calls}
    assert [one["labels"]["series"] for one in calls["/alerts"]["alerts"]] == ["TI-2"]
    (said,) = calls["/slack"]["attachments"]
    assert said["title"] == "[PAGE] Nord / Reactor 2: &lt;!channel&gt; &amp; *TI* above expected"
    assert "&lt;!channel&gt; &amp; *TI* above expected" in said["text"]
    assert "93.43 °C, expected 81.2 °C (78.9 … 83.5)" in said["text"]
    assert said["color"] == "danger"
    assert len(mailbox.mails) == 2, "what is only for information is sent to nobody"
