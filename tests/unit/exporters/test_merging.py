"""Expositions of several workers as one, as Prometheus's own parser reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pipeline.exporters.merging import label, merge

ONE = """\
# HELP gatecast_series Series by state.
# TYPE gatecast_series gauge
gatecast_series{state="live"} 3.0
# HELP up_s Seconds.
# TYPE up_s gauge
up_s 12.0
"""
OTHER = """\
# HELP gatecast_series Series by state.
# TYPE gatecast_series gauge
gatecast_series{state="live"} 4.0
# HELP only_here Seconds.
# TYPE only_here histogram
only_here_bucket{le="1.0"} 1.0
only_here_bucket{le="+Inf"} 2.0
only_here_sum 3.5
only_here_count 2.0
"""


def test_each_sample_has_its_worker_and_each_family_stands_once() -> None:
    families = {f.name: f for f in text_string_to_metric_families(merge({"0": ONE, "1": OTHER}))}
    assert list(families) == ["gatecast_series", "up_s", "only_here"]
    found = {s.labels["worker"]: s.value for s in families["gatecast_series"].samples}
    assert found == {"0": 3.0, "1": 4.0}
    assert families["gatecast_series"].documentation == "Series by state."
    assert {s.labels["worker"] for s in families["only_here"].samples} == {"1"}
    assert families["only_here"].type == "histogram"


def test_braces_spaces_and_quotes_in_labels_stay_as_they_are() -> None:
    line = 'gatecast_series_value{series="a {b} \\"c\\", d"} 1.0'
    assert label(line, "2") == 'gatecast_series_value{worker="2",series="a {b} \\"c\\", d"} 1.0'
    assert label("up_s 12.0", "2") == 'up_s{worker="2"} 12.0'
    assert label("empty{} 1", "0") == 'empty{worker="0"} 1'


def test_nobody_answers() -> None:
    assert merge({}) == "\n"
