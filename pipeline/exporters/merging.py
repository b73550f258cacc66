"""Expositions of several workers as one: each sample gets the label `worker`, each family stands once.

Text format 0.0.4, as `pipeline.exporters.exposition` writes it. Nothing is added up: sums are Prometheus's.
"""

from __future__ import annotations

from collections.abc import Mapping

LABEL = "worker"


def merge(texts: Mapping[str, str]) -> str:
    """texts: by the value of the label. Families in the order of the first that has them."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, text in texts.items():
        name = ""
        for line in text.splitlines():
            if line.startswith("# "):
                _, kind, name, *_ = line.split(" ", 3)
                known = heads.setdefault(name, [])
                if not any(head.startswith(f"# {kind} ") for head in known):
                    known.append(line)
            elif line:
                samples.setdefault(name, []).append(label(line, worker))
    lines = [line for name, head in heads.items() for line in (*head, *samples.get(name, ()))]
    return "\n".join(lines) + "\n"


def label(sample: str, worker: str) -> str:
    """A line with one label more, in front: names hold neither braces nor spaces, values of labels may."""
    end = min(at for at in (sample.find("{"), sample.find(" ")) if at >= 0)
    if sample[end] == "{":
        rest = sample[end + 1 :]
        comma = "" if rest.startswith("}") else ","
        return f'{sample[:end]}{{{LABEL}="{worker}"{comma}{rest}'
    return f'{sample[:end]}{{{LABEL}="{worker}"}}{sample[end:]}'
