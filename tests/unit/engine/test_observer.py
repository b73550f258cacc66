"""The observer port and those who satisfy it."""

from __future__ import annotations

import inspect

import pytest

from pipeline.engine.observer import Observer, Unobserved
from pipeline.exporters.prometheus import MetricsExporter

METHODS = [name for name in vars(Observer) if name.startswith("on_")]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("implementation", [MetricsExporter, Unobserved])
def test_signatures_are_those_of_the_port(implementation, name):
    method = getattr(implementation, name)
    assert inspect.signature(method) == inspect.signature(getattr(Observer, name))


def test_unobserved_takes_everything_and_says_nothing():
    observer = Unobserved()
    for name in METHODS:
        parameters = list(inspect.signature(getattr(observer, name)).parameters.values())
        positional = [None for p in parameters if p.kind is not p.KEYWORD_ONLY]
        named = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
        assert getattr(observer, name)(*positional, **named) is None
    assert len(METHODS) > 15
