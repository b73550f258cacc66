"""What a careless page would break at: hostile names, ten thousand series, people who can't see or click."""

from __future__ import annotations

import json
import urllib.request
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.page.staging import HOSTILE
from tests.page.visitor import choose

MANY = 10_000


@pytest.fixture
def hostile(serve):
    """All of them known; the first two alert."""
    server = serve(*HOSTILE, past=12)
    server.do(lambda stage: stage.step(HOSTILE[:2], 2, fault=2))
    return server


def test_hostile_names_are_text_on_the_page(hostile, open_page):
    page = open_page(hostile.url)
    # alerts and the list come with answers of their own
    page.wait_for_function("count => document.querySelectorAll('.alert-row').length >= count", arg=2)
    page.wait_for_function(
        """names => {
          const shown = new Set([...document.querySelectorAll('.row-id')].map((id) => id.textContent));
          return names.every((name) => shown.has(name));
        }""",
        arg=list(HOSTILE),
    )
    for name in HOSTILE:
        choose(page, name)
        assert page.locator("#chart-id").text_content() == name
        assert page.locator("#chart-name").text_content() == f"name of {name}"
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    alerts = page.locator("#alerts").text_content()
    assert all(f"name of {name} · bad quality" in alerts for name in HOSTILE[:2])
    assert page.title() == "Gatecast", "no name was run as a script"
    assert page.locator("main img").count() == 0
    page.get_by_label("Search").fill(HOSTILE[0].upper())
    page.wait_for_function("() => document.getElementById('found').textContent.startsWith('1 of')")


def test_hostile_names_come_whole_through_api_and_metrics(hostile):
    def read(path):
        with urllib.request.urlopen(hostile.url + path, timeout=30) as answer:
            return answer.read().decode()

    for name in HOSTILE:
        found = json.loads(read(f"api/v1/series?id={quote(name, safe='')}&step=4"))
        assert (found["series"], found["name"]) == (name, f"name of {name}")
    (partition,) = json.loads(read("api/v1/series"))["partitions"]
    assert partition["series"] == sorted(HOSTILE)
    alerts = json.loads(read("api/v1/overview"))["alerts"]
    assert {alert["series"] for alert in alerts} == set(HOSTILE[:2])
    samples = [s for family in text_string_to_metric_families(read("metrics")) for s in family.samples]
    active = {s.labels["series"] for s in samples if s.name == "gatecast_alert_active"}
    assert active == set(HOSTILE[:2])


def test_ten_thousand_series_do_not_freeze_it(serve, open_page):
    names = tuple(f"plant/area {k % 17}/sensor-{k:05d}" for k in range(MANY))
    page = open_page(serve(*names, past=4, every_s=5.0).url)
    page.evaluate(
        """() => {
          window.longest = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
          }).observe({ type: "longtask" });
        }"""
    )
    page.wait_for_function("() => document.getElementById('found').textContent === '10\\u202f000 series'")
    page.get_by_label("Order").select_option("name")
    page.wait_for_function("name => document.querySelector('.row-id').textContent === name", arg=names[0])
    page.evaluate(
        "() => { const list = document.getElementById('list'); list.scrollTop = list.scrollHeight; }"
    )
    last = page.locator(".row-id", has_text=sorted(names)[-1])
    last.wait_for()
    last.click()
    page.wait_for_function("() => document.getElementById('chart').ariaLabel.startsWith('Chart of')")
    page.get_by_label("Search").fill("sensor-0999")
    page.wait_for_function(
        "() => document.getElementById('found').textContent === '10 of 10\\u202f000 series'"
    )
    assert page.locator(".row").count() < 40, "only those in sight exist"
    assert page.evaluate("() => document.querySelectorAll('*').length") < 1200
    assert page.evaluate("() => window.longest") < 1000, "milliseconds for which it did not answer"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(serve, open_page, scheme):
    axe = pytest.importorskip("axe_playwright_python.base")
    server = serve("boiler/1", "boiler/2", "valve", past=60)
    server.do(lambda stage: stage.step(("valve",), 2, fault=2))
    server.do(lambda stage: stage.step(("fresh",), 1))
    page = open_page(server.url, scheme=scheme)
    page.wait_for_selector(".alert-row")
    page.locator("#why summary").click()
    page.wait_for_selector("#reach canvas")
    # as a debugger would: the page's policy allows no script from elsewhere
    page.evaluate(axe.AXE_FILE_PATH.read_text(encoding="utf-8") + ";0")
    found = page.evaluate("() => axe.run(document)")
    told = [
        f"{each['impact']} {each['id']}: {each['help']}: {[node['html'][:120] for node in each['nodes'][:3]]}"
        for each in found["violations"]
    ]
    assert [line for line in told if line.startswith(("serious", "critical"))] == []
    assert len(found["passes"]) > 20
