"""Holds the import rules of ARCHITECTURE.md by reading the source.

Imports point inward: `forecasters` knows nothing of `pipeline`, the engine knows no adapter, adapters know
neither the engine nor each other, and only `app` and `demo` build adapters. Modules that don't exist yet are
named here already, so that they are held from their first commit.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("forecasters", "pipeline", "dashboards")

ENGINE = "pipeline.engine"
ADAPTER_FOLDERS = ("pipeline.sources", "pipeline.exporters", "pipeline.store")
# One file per outside system. Other files in these folders are parts of one of them.
ADAPTER_FILES = (
    "pipeline.sources.files",
    "pipeline.sources.kafka",
    "pipeline.sources.memory",
    "pipeline.exporters.http",
    "pipeline.exporters.kafka",
    "pipeline.exporters.memory",
    "pipeline.exporters.prometheus",
)
# Benchmarks measure adapters one by one; crew is a port in front of other processes.
BUILDERS = ("pipeline.app", "pipeline.benches", "pipeline.crew", "pipeline.demo")
OUTER = ("pipeline.__main__", "pipeline.app", "pipeline.cli", "pipeline.demo", "pipeline.runner")
INNER = ("pipeline.records", "pipeline.ports", "pipeline.codec")
CLIENT_LIBRARIES = (
    "aiohttp", "aiokafka", "boto3", "botocore", "click", "confluent_kafka", "fsspec", "grafana_client",
    "http.client", "http.server", "httpx", "kafka", "prometheus_client", "requests", "rich", "s3fs", "socket",
    "urllib.request", "urllib3",
)  # fmt: skip
NUMERIC_CORE_MAY_IMPORT = sys.stdlib_module_names | {"forecasters", "numpy", "torch"}
NOT_LOADED_BY_THE_CORE = ("click", "kafka", "pandas", "prometheus_client", "pyarrow", "rich")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One name that a module imports: `from a.b import c as d` gives name `a.b.c`, bound to `d`."""

    name: str
    bound_to: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A source file with its dotted name, its syntax tree and all its imports, nested ones included."""

    name: str
    path: Path
    tree: ast.Module
    imports: tuple[Import, ...]


def is_within(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def find_parent(name: str, parents: tuple[str, ...]) -> str | None:
    return next((parent for parent in parents if is_within(name, (parent,))), None)


def read_modules(root: Path) -> list[Module]:
    modules = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
            home = name if is_package else name.rpartition(".")[0]
            modules.append(Module(name=name, path=path, tree=tree, imports=tuple(find_imports(tree, home))))
    return modules


def find_imports(tree: ast.Module, home: str) -> Iterator[Import]:
    """All imports in a module of package `home`: statements anywhere, and calls with a literal name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound_to = alias.asname or alias.name.partition(".")[0]
                yield Import(name=alias.name, bound_to=bound_to, line=node.lineno)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                above = home.split(".")[: len(home.split(".")) - (node.level - 1)]
                source = ".".join([*above, source] if source else above)
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield Import(name=name, bound_to=alias.asname or alias.name, line=node.lineno)
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield Import(name=str(first.value), bound_to="", line=node.lineno)


def find_fault(module: str, imported: str) -> str | None:
    """The rule that `module` breaks by importing `imported`, or None."""
    if is_within(module, ("forecasters",)) and imported.partition(".")[0] not in NUMERIC_CORE_MAY_IMPORT:
        return "forecasters imports the standard library, torch, numpy and itself"
    if is_within(module, INNER) and is_within(imported, CLIENT_LIBRARIES + ADAPTER_FOLDERS + OUTER):
        return "records, ports and codec import no client library and nothing further out"
    if is_within(module, (ENGINE,)) and is_within(imported, CLIENT_LIBRARIES + ADAPTER_FOLDERS + OUTER):
        return "the engine imports no adapter, no client library and nothing further out"
    if is_within(module, ADAPTER_FOLDERS):
        if is_within(imported, (ENGINE, *OUTER)):
            return "adapters import neither the engine nor anything further out"
        here, there = find_parent(module, ADAPTER_FOLDERS), find_parent(imported, ADAPTER_FOLDERS)
        if there and there != here:
            return "adapters do not import each other"
        here, there = find_parent(module, ADAPTER_FILES), find_parent(imported, ADAPTER_FILES)
        if here and there and there != here:
            return "adapters do not import each other"
    return None


def find_import_faults(modules: list[Module]) -> list[str]:
    return [
        f"{module.path}:{found.line}: {module.name} imports {found.name}, but {fault}"
        for module in modules
        for found in module.imports
        if (fault := find_fault(module.name, found.name))
    ]


def is_adapter_class(node: ast.AST) -> bool:
    """Whether a class acts: frozen dataclasses, errors, enumerations and protocols are plain values."""
    if not isinstance(node, ast.ClassDef):
        return False
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    if any("dataclass" in text and "frozen=True" in text for text in decorators):
        return False
    plain = ("Error", "Exception", "Enum", "NamedTuple", "Protocol", "TypedDict")
    return not any(ast.unparse(base).partition("[")[0].endswith(plain) for base in node.bases)


def find_construction_faults(modules: list[Module]) -> list[str]:
    """Calls of an adapter's class from outside the adapters, `app` and `demo`."""
    classes = {
        f"{module.name}.{node.name}"
        for module in modules
        if is_within(module.name, ADAPTER_FOLDERS)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and is_adapter_class(node)
    }
    faults = []
    for module in modules:
        if is_within(module.name, ADAPTER_FOLDERS + BUILDERS):
            continue
        names = {found.bound_to: found.name for found in module.imports}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                head, dot, rest = ast.unparse(node.func).partition(".")
                # `import a.b` binds `a`, and a.b.C is then written out in full.
                called = {names.get(head, head) + dot + rest, head + dot + rest}
                faults += [
                    f"{module.path}:{node.lineno}: {module.name} constructs {name}, but only app and demo"
                    " construct adapters"
                    for name in sorted(called & classes)
                ]
    return faults


def write_tree(root: Path, sources: dict[str, str]) -> list[Module]:
    for name, source in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return read_modules(root)


def test_imports_point_inward() -> None:
    modules = read_modules(ROOT)
    assert {"forecasters", "pipeline"} <= {module.name for module in modules}
    assert find_import_faults(modules) == []


def test_only_app_and_demo_construct_adapters() -> None:
    assert find_construction_faults(read_modules(ROOT)) == []


def test_core_loads_without_the_libraries_of_the_pipeline() -> None:
    """`import forecasters`, every module of it, leaves the libraries of the outer rings unloaded."""
    names = [module.name for module in read_modules(ROOT) if is_within(module.name, ("forecasters",))]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted(set({NOT_LOADED_BY_THE_CORE!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("forecasters/rnn.py", "import pandas", "forecasters imports"),
        ("forecasters/rnn.py", "from pipeline.records import Reading", "forecasters imports"),
        ("forecasters/rnn.py", "def load():\n    import safetensors.torch", "forecasters imports"),
        ("forecasters/rnn.py", "import importlib\nimportlib.import_module('kafka')", "forecasters imports"),
        ("pipeline/records.py", "import prometheus_client as p", "records, ports and codec"),
        ("pipeline/ports.py", "from kafka import KafkaConsumer", "records, ports and codec"),
        ("pipeline/codec/influx.py", "from ..sources import kafka", "records, ports and codec"),
        ("pipeline/engine/waves.py", "from pipeline.store import checkpoints", "the engine imports"),
        ("pipeline/engine/waves.py", "from ..exporters.memory import Sink", "the engine imports"),
        ("pipeline/engine/__init__.py", "from .. import sources", "the engine imports"),
        ("pipeline/sources/files.py", "from pipeline.engine.waves import Wave", "adapters import neither"),
        ("pipeline/store/checkpoints.py", "from pipeline import app", "adapters import neither"),
        ("pipeline/store/checkpoints.py", "from pipeline.sources import files", "adapters do not import"),
        ("pipeline/sources/files.py", "from .kafka import Consumer", "adapters do not import"),
    ],
)
def test_checker_finds_a_planted_import(tmp_path: Path, path: str, source: str, fault: str) -> None:
    faults = find_import_faults(write_tree(tmp_path, {path: source}))
    assert len(faults) == 1
    assert fault in faults[0]
    assert path in faults[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("forecasters/rnn.py", "import math\nimport numpy as np\nimport torch.nn\nfrom . import lstm"),
        (
            "pipeline/engine/waves.py",
            "import numpy\nfrom forecasters import build\nfrom ..ports import Clock",
        ),
        ("pipeline/sources/files.py", "import pandas\nfrom pipeline.sources.dialect import TableOptions"),
        ("pipeline/app.py", "from pipeline.sources.kafka import Consumer\nfrom pipeline.engine import waves"),
    ],
)
def test_checker_allows_what_points_inward(tmp_path: Path, path: str, source: str) -> None:
    assert find_import_faults(write_tree(tmp_path, {path: source})) == []


@pytest.mark.parametrize(
    "source",
    [
        "from pipeline.sources.kafka import Consumer\nConsumer()",
        "from pipeline.sources.kafka import Consumer as C\ndef start():\n    return C(1)",
        "from pipeline.sources import kafka\nkafka.Consumer()",
        "import pipeline.sources.kafka\npipeline.sources.kafka.Consumer()",
    ],
)
def test_checker_finds_a_planted_construction(tmp_path: Path, source: str) -> None:
    adapter = (
        "from dataclasses import dataclass\n"
        "class Consumer: ...\n"
        "@dataclass(frozen=True, slots=True)\n"
        "class Options: ...\n"
    )
    where = "pipeline/sources/kafka.py"
    faults = find_construction_faults(write_tree(tmp_path, {where: adapter, "pipeline/cli.py": source}))
    assert len(faults) == 1
    assert "only app and demo construct adapters" in faults[0]

    (tmp_path / "pipeline/cli.py").unlink()
    assert find_construction_faults(write_tree(tmp_path, {"pipeline/app.py": source})) == []
    options = "from pipeline.sources.kafka import Options\nOptions()"
    assert find_construction_faults(write_tree(tmp_path, {"pipeline/cli.py": options})) == []
