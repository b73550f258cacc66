"""From a sensor's fault to a mail, and to the mail that says that it is over. No part is a mock."""

from __future__ import annotations

import signal
import time

import pytest

from tests.stack.inbox import Mail
from tests.stack.plant import FI, SERIES, TI
from tests.stack.stack import Stack

MAIL_S = 40.0
"""A scrape (10 s), an evaluation (5 s) and Alertmanager's wait for others (10 s) are 25 s at most, and the
goal is 30 s; a busy machine gets some more."""
CALM_S = 12.0
SHOWN_S = 40.0
"""A choice of what is shown (5 s), a step, a scrape."""
OVER_S = 240.0
"""An episode is shown for three minutes at least by a worker that was not started anew meanwhile; then the
rule keeps it for a while."""
SUBJECT = "Nord / Reactor 2: TI-4711 is out of range"


def test_a_fault_wakes_somebody_once_and_they_are_told_how_it_ended(
    stack: Stack, record_property: pytest.RecordProperty
) -> None:
    """Amid it the worker is killed and started again, and so is Prometheus: no second mail, no "resolved"."""
    failed_s = stack.plant.fail({TI: 999.5, FI: -7.25})
    mail = stack.mailbox.wait_for(f"[PAGE] {SUBJECT}", MAIL_S)
    fired_s, alert = stack.find_alert(TI, "firing")
    record_property("fault_to_topic_s", round(fired_s - failed_s, 1))
    record_property("topic_to_mail_s", round(mail.arrived_s - fired_s, 1))
    print(f"fault to topic {fired_s - failed_s:.1f} s, topic to mail {mail.arrived_s - fired_s:.1f} s")
    assert mail.arrived_s - fired_s <= MAIL_S
    assert mail.to == ("night-shift@localhost",)
    check_text(mail, alert["readings_learned"])
    check_html(mail)
    check_hook(stack, "firing")
    check_dashboard(stack)

    restart(stack)
    expected = 'gatecast_alert_active{series="Nord/Reactor 2/TI-4711"} == 1'
    stack.wait_until(expected, 60)
    time.sleep(CALM_S)  # whatever would come of it had come by now
    assert [mail.subject for mail in stack.mailbox.find(SUBJECT)] == [f"[PAGE] {SUBJECT}"]
    assert [call.body["status"] for call in find_calls(stack)] == ["firing"]

    healed_s = stack.plant.heal()
    over = stack.mailbox.wait_for(f"[RESOLVED] {SUBJECT}", OVER_S)
    record_property("healed_to_mail_s", round(over.arrived_s - healed_s, 1))
    print(f"recovery to mail {over.arrived_s - healed_s:.1f} s")
    assert "back to normal, " in over.text
    assert "back to normal, " in over.html
    assert len(stack.mailbox.find(SUBJECT)) == 2
    check_hook(stack, "resolved")
    pages = {mail.subject for mail in stack.mailbox.find("[PAGE]")}
    assert pages == {f"[PAGE] {SUBJECT}"}, "nobody is woken by the restarts themselves"


def check_dashboard(stack: Stack) -> None:
    """Nobody watches the sensor, and a worker shows three: since its alert it is one of them. Its values are
    out of range, so what it measured last is shown, and why it measures nothing now."""
    stack.wait_until(f'gatecast_series_info{{series="{TI}",name="TI-4711",unit="°C"}}', SHOWN_S)
    stack.wait_until(f'gatecast_series_quality{{series="{TI}",quality="out_of_range"}} == 1', SHOWN_S)
    stack.wait_until(f'gatecast_series_value{{series="{TI}"}} <= 150', SHOWN_S)
    stack.wait_until(f'gatecast_series_forecast{{series="{TI}",step="1"}}', SHOWN_S)
    per_worker = stack.prometheus.query("count by (instance) (gatecast_series_info)")
    assert {sample.value for sample in per_worker} <= {1.0, 2.0, 3.0}
    assert sum(sample.value for sample in per_worker) < len(SERIES)


def restart(stack: Stack) -> None:
    """Kill the worker that has the sensor and start it again; Prometheus as well."""
    (shown,) = stack.prometheus.query('gatecast_alert_active{series="Nord/Reactor 2/TI-4711"}')
    (worker,) = [one for one in stack.workers if one.address == shown.labels["instance"]]
    worker.end(signal.SIGKILL)
    # Seen to be down, or else a Prometheus that starts anew would believe its last sample for five minutes.
    stack.wait_until(f'up{{instance="{worker.address}"}} == 0', 30)
    stack.prometheus.stop()
    worker.start()
    stack.prometheus.start()


def check_text(mail: Mail, learned: int) -> None:
    lines = {line.strip() for line in mail.text.splitlines()}
    assert {
        "value     999.5 °C",
        "expected  0 … 150 °C",
        "quality   out of range",
        f"learnt    {learned} readings",
        "series    Nord/Reactor 2/TI-4711",
    } <= lines, mail.text
    (since,) = [line for line in lines if line.startswith("since")]
    assert since.split()[-1] in ("CET", "CEST"), "local time"
    assert (
        "http://localhost:3000/d/gatecast-series?var-series=Nord%2FReactor%202%2FTI-4711&from=" in mail.text
    )
    assert "/GatecastSensorAlert.md" in mail.text
    assert (
        "http://alertmanager.plant.example:9093/#/silences/new?"
        "filter=%7Bseries%3D%22Nord%2FReactor%202%2FTI-4711%22%2Ckind%3D%22out_of_range%22%7D"
    ) in mail.text


def check_html(mail: Mail) -> None:
    assert 'name="viewport"' in mail.html
    for words in ("TI-4711 is out of range", "999.5 °C", "0 … 150 °C", ">Silence</a>", ">What to do</a>"):
        assert words in mail.html


def find_calls(stack: Stack) -> list:
    return [call for call in list(stack.hook.calls) if call.path == "/alerts"]


def check_hook(stack: Stack, state: str) -> None:
    """The owner who is told by a web hook: its alert whole, whatever signs are in the id, and the secret."""
    deadline = time.monotonic() + OVER_S
    while not (calls := [call for call in find_calls(stack) if call.body["status"] == state]):
        assert time.monotonic() < deadline, f"no {state} call, but {[call.body for call in stack.hook.calls]}"
        time.sleep(0.1)
    (call,) = calls
    assert call.headers["Authorization"] == "Bearer s3cret"
    (alert,) = call.body["alerts"]
    assert (alert["labels"]["series"], alert["labels"]["area"]) == (FI, "Boiler house")
    assert alert["annotations"]["summary"] == "Feed <b>flow</b> is out of range"
    if state == "firing":
        assert alert["annotations"]["value"] == "-7.25 m³/h"
