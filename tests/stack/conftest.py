"""One stack for all tests of this folder: a real broker, two workers, Prometheus, Alertmanager, a mailbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kafka.conftest import bootstrap, own_server
from tests.stack.components import find_program
from tests.stack.stack import Stack, run_stack

__all__ = ["bootstrap", "own_server", "stack"]


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    for program in ("prometheus", "alertmanager"):
        find_program(program)
    server: str = request.getfixturevalue("bootstrap")
    with run_stack(server, tmp_path_factory.mktemp("stack")) as running:
        yield running
