"""The README names every metric and every command there is, and none that there isn't."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pipeline.cli import main
from pipeline.exporters.catalogue import CATALOGUE, PREFIX

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_table_of_metrics_is_that_of_the_catalogue() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram|summary) \| ([\w, ]*?) ?\| ", README, re.M)
    documented = [(name, kind, tuple(labels.split(", ")) if labels else ()) for name, kind, labels in rows]
    assert documented == [(m.name.removeprefix(PREFIX), m.kind, m.labels) for m in CATALOGUE]


def test_every_command_is_in_the_table() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `gatecast ")]
    documented = {
        (row.split("`")[1].split()[1], word) for row in rows for word in re.findall(r"[a-z-]+", row)
    }
    for name, command in main.commands.items():
        parts = list(command.commands) if isinstance(command, click.Group) else [name]
        assert {(name, part) for part in parts} <= documented, f"the README's table lacks gatecast {name}"
    assert {name for name, _ in documented} == set(main.commands)
