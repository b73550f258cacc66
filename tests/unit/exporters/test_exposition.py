"""The text format: what another parser reads back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Info, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pipeline.exporters.catalogue import Metric
from pipeline.exporters.exposition import TEXT, ArrayFamily, Heads, expose, render
from pipeline.exporters.samples import Table

GAUGE = Metric(
    name="gatecast_x", kind="gauge", help='A "quoted" \\ help\nin two lines.', labels=("series", "b")
)
COUNTER = Metric(name="gatecast_y_total", kind="counter", help="Ys.", labels=("b",))
HISTOGRAM = Metric(name="gatecast_z_seconds", kind="histogram", help="Zs.", labels=("b",), buckets=(0.5, 1e7))
SUMMARY = Metric(name="gatecast_w", kind="summary", help="Ws.", labels=("b",))

NAMES = (
    "plain",
    'Kessel "Nord"',
    "back\\slash",
    "trailing\\",
    "two\nlines",
    '\\n"\n\\\\',
    "Prüfstand/Öl-Temperatur °C",
    "温度センサー",
    "датчик",
    "🌡",
    '{a="b"} 1',
    "# HELP x",
    " leading and trailing ",
    "",
)


class Families:
    """A collector of given families."""

    def __init__(self, *families):
        self.families = families

    def collect(self):
        return self.families


def registry_of(*tables):
    registry = CollectorRegistry()
    registry.register(Families(*(table.freeze().family() for table in tables)))
    return registry


def read(text):
    return {
        (s.name, frozenset(s.labels.items())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


@pytest.mark.parametrize("name", NAMES)
def test_label_values_survive(name):
    table = Table(GAUGE)
    table.put(1.5, name, "after")
    text = render(registry_of(table)).decode()
    assert text.count("\n") == 3  # HELP, TYPE and one sample: no newline got through
    assert read(text) == {("gatecast_x", frozenset({("series", name), ("b", "after")})): 1.5}


def test_a_lone_surrogate_has_no_utf_8_form_and_is_replaced():
    table = Table(GAUGE)
    table.put(1, "a\ud800b", "")
    assert (
        read(render(registry_of(table)).decode())["gatecast_x", frozenset({("series", "a?b"), ("b", "")})]
        == 1
    )


def test_numbers_survive_to_the_last_bit():
    rng = np.random.default_rng(0)
    values = [0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 1e16, 2.0**53, 123456789012.0]
    values += [*rng.normal(size=50), *10.0 ** rng.uniform(-300, 300, 50)]
    table = Table(GAUGE)
    for at, value in enumerate(values):
        table.put(value, str(at), "")
    found = read(render(registry_of(table)).decode())
    for at, value in enumerate(values):
        assert found["gatecast_x", frozenset({("series", str(at)), ("b", "")})] == value


def test_infinities_and_nan_are_written_as_the_format_has_them():
    table = Table(GAUGE)
    for name, value in (("up", math.inf), ("down", -math.inf), ("none", math.nan), ("one", 1.0)):
        table.put(value, name, "")
    lines = render(registry_of(table)).decode().splitlines()[2:]
    assert [line.rpartition(" ")[2] for line in lines] == ["+Inf", "-Inf", "NaN", "1"]


def test_histogram_is_cumulated_with_sum_and_count():
    table = Table(HISTOGRAM)
    table.observe(np.array([0.1, 0.5, 0.6, 2e7]), "a")
    found = read(render(registry_of(table)).decode())
    b = ("b", "a")
    assert found == {
        ("gatecast_z_seconds_bucket", frozenset({b, ("le", "0.5")})): 2,
        ("gatecast_z_seconds_bucket", frozenset({b, ("le", "1e+07")})): 3,
        ("gatecast_z_seconds_bucket", frozenset({b, ("le", "+Inf")})): 4,
        ("gatecast_z_seconds_sum", frozenset({b})): 0.1 + 0.5 + 0.6 + 2e7,
        ("gatecast_z_seconds_count", frozenset({b})): 4,
    }


def tables():
    made = [Table(metric) for metric in (GAUGE, COUNTER, HISTOGRAM, SUMMARY)]
    made[0].put(2.25, 'a"\n\\ä', "b")
    made[1].add(3, "x")
    made[2].observe(np.array([0.25, 3.0]), "x")
    at = made[3].at("x")
    made[3].values[at] = (7.5, 2)
    return made


def test_reads_as_what_prometheus_client_writes_of_the_same():
    registry = registry_of(*tables())
    ours, theirs = render(registry).decode(), generate_latest(registry).decode()
    assert read(ours) == read(theirs)
    assert [x for x in ours.splitlines() if x[0] == "#"] == [x for x in theirs.splitlines() if x[0] == "#"]


def test_other_collectors_share_the_registry():
    registry = registry_of(*tables())
    Counter("other", "Others.", registry=registry).inc(2)
    Gauge("level", "Levels.", ["a"], registry=registry).labels('"').set(1)
    Info("build", "Builds.", registry=registry).info({"version": "1"})
    assert read(render(registry).decode()) == read(generate_latest(registry).decode())
    assert registry.get_sample_value("gatecast_y_total", {"b": "x"}) == 3


def test_a_family_without_samples_keeps_its_head():
    text = render(registry_of(Table(COUNTER))).decode()
    assert text == "# HELP gatecast_y_total Ys.\n# TYPE gatecast_y_total counter\n"


def test_families_know_no_other_attribute():
    family = ArrayFamily(Heads(GAUGE, ()), np.zeros(0))
    with pytest.raises(AttributeError, match="labels_of"):
        _ = family.labels_of


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/plain",
        "text/html, text/*;q=0.5",
        # Prometheus 3
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    ],
)
def test_whoever_takes_text_gets_it_the_quick_way(accept):
    registry = registry_of(*tables())
    assert expose(registry, accept) == (render(registry), TEXT)


def test_openmetrics_alone_is_served_too():
    body, content_type = expose(registry_of(*tables()), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    samples = [s for family in parse_openmetrics(body.decode()) for s in family.samples]
    assert ("gatecast_y_total", {"b": "x"}, 3.0) in [(s.name, s.labels, s.value) for s in samples]


def test_rows_come_and_go_and_heads_follow():
    table = Table(GAUGE)
    table.put(1, "a", "")
    table.put(2, "b", "")
    before = table.freeze()
    table.remove("a", "")
    table.remove("unknown", "")
    table.put(3, "c", "")
    after = {dict(labels)["series"]: v for (_, labels), v in read(after_text(table)).items()}
    assert after == {"b": 2, "c": 3}
    shown = [s.labels["series"] for s in before.family().samples]
    assert shown == ["a", "b"]  # what was frozen stays as it was


def after_text(table):
    return render(registry_of(table)).decode()


def test_heads_are_made_once_for_the_same_rows():
    table = Table(COUNTER)
    table.add(1, "x")
    first = table.freeze().family().heads
    table.add(1, "x")
    assert table.freeze().family().heads is first
    table.add(1, "y")
    assert table.freeze().family().heads is not first
