"""Prometheus's text format from arrays: label text made once, values written in bulk.

A family here is one that `prometheus_client` can read too (its samples are made when somebody asks for
them), so that any collector may share the registry. Only the text format 0.0.4 goes the quick way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from pipeline.exporters.catalogue import Metric
from pipeline.records import Float64Array

Labels = tuple[tuple[str, str], ...]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
_TEXT_RANGES = ("text/plain", "text/*", "*/*")
_FORMS = (("inf", "+Inf"), ("-inf", "-Inf"), ("nan", "NaN"))
"""Numbers that Arrow writes otherwise than the format has them."""


class Heads:
    """The unchanging left side of a family's lines: sample names and labels. Immutable."""

    def __init__(self, metric: Metric, rows: Sequence[tuple[str, ...]]) -> None:
        """rows: label values in the order of `metric.labels`. One row has several lines in a histogram
        (buckets, sum, count) and in a summary (sum, count)."""
        self.metric = metric
        self.rows = rows
        self.names: list[str] = []
        self.labels: list[Labels] = []
        lines = self._lines()
        for row in rows:
            labels = tuple(zip(metric.labels, row, strict=True))
            self.names += [name for name, _ in lines]
            self.labels += [labels + more for _, more in lines]
        texts = [_head(name, labels) for name, labels in zip(self.names, self.labels, strict=True)]
        self.texts = pa.array(texts, pa.string())

    def _lines(self) -> list[tuple[str, Labels]]:
        metric = self.metric
        if metric.kind not in ("histogram", "summary"):
            return [(metric.name, ())]
        ends: list[tuple[str, Labels]] = [(f"{metric.name}_sum", ()), (f"{metric.name}_count", ())]
        if metric.kind == "summary":
            return ends
        bounds = [floatToGoString(bound) for bound in (*metric.buckets, np.inf)]
        return [(f"{metric.name}_bucket", (("le", bound),)) for bound in bounds] + ends


class ArrayFamily(Family):
    """A family at one moment: heads, and a value for each. `values` must not change any more."""

    def __init__(self, heads: Heads, values: Float64Array) -> None:
        metric = heads.metric
        name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        super().__init__(name, metric.help, metric.kind)
        del self.samples  # made below, once they are asked for
        self.heads = heads
        self.values = values

    def __getattr__(self, name: str) -> Any:
        if name != "samples":
            raise AttributeError(name)
        heads = self.heads
        self.samples: list[Sample] = [
            Sample(name, dict(labels), value)
            for name, labels, value in zip(heads.names, heads.labels, self.values.tolist(), strict=True)
        ]
        return self.samples

    def text(self) -> bytes:
        """The family in the text format. Most of the time is spent without the interpreter's lock."""
        metric = self.heads.metric
        help_text = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
        top = f"# HELP {metric.name} {help_text}\n# TYPE {metric.name} {metric.kind}\n".encode()
        if not self.values.size:
            return top
        numbers = pc.cast(pa.array(self.values), pa.string())
        if not np.isfinite(self.values).all():
            for arrow, form in _FORMS:
                numbers = pc.if_else(pc.equal(numbers, arrow), form, numbers)
        lines = pc.binary_join_element_wise(self.heads.texts, numbers, "\n", "")
        return top + lines.buffers()[2].to_pybytes()


class _Single:
    """One family as a collector, for the slow way."""

    def __init__(self, family: Family) -> None:
        self.family = family

    def collect(self) -> Iterable[Family]:
        return (self.family,)


def render(registry: CollectorRegistry) -> bytes:
    """All of a registry in the text format 0.0.4."""
    return b"".join(
        family.text() if isinstance(family, ArrayFamily) else generate_latest(_Single(family))
        for family in registry.collect()
    )


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Body and content type for a request's Accept header.

    Whoever takes plain text gets 0.0.4, as Prometheus does even where it would rather have OpenMetrics: that
    adds nothing here and costs 7 µs a sample. Others get what prometheus_client chooses.
    """
    ranges = [part.partition(";")[0].strip() for part in accept.split(",")]
    if not accept or any(text in ranges for text in _TEXT_RANGES):
        return render(registry), TEXT
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _head(name: str, labels: Labels) -> str:
    if not labels:
        return f"{name} "
    pairs = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels)
    return f"{name}{{{pairs}}} "


def _escaped(value: str) -> str:
    """Backslash first: what the others bring in must stay. A lone surrogate has no UTF-8 form."""
    text = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return text.encode("utf-8", "replace").decode()
