"""What is done elsewhere than on a CPU, on one: the state comes out the same bit for bit, and waves of one
form take the same operations on the same shapes, so that those of one can be recorded and done again.

Whether a GPU does the same is for `tests/gpu`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from forecasters import Bank, build, chunks, products, programs
from forecasters.anomaly import AlertOptions
from forecasters.rows import TILE
from tests.contract.test_in_step import assert_same

NAMES = ("naive", "seasonal_naive", "linear", "rnn", "lstm", "gru", "blend")
SERIES, ROUNDS, CADENCE_MS = 70, 70, 60_000
HERE = ("forecasters.products",)
"""Modules that stay as they are: their results differ in rounding."""

Log = Callable[[Bank, np.ndarray], None]


def make_bank(season: int = 30) -> tuple[Bank, np.ndarray]:
    bank = build(
        NAMES,
        horizon=6,
        device="cpu",
        chunk=4,
        hidden=8,
        replay=4,
        pool=8,
        alerts=AlertOptions(champion="blend"),
    )
    ids = [f"s{k}" for k in range(SERIES)]
    return bank, bank.add(ids, cadence_ms=CADENCE_MS, season_ms=season * CADENCE_MS)


def feed_rounds(bank: Bank, slots: np.ndarray) -> None:
    """Whole rounds, then in pieces and out of order."""
    values = np.random.default_rng(1).normal(size=(ROUNDS, SERIES)).cumsum(0)
    for k, row in enumerate(values):
        parts = (
            [np.arange(SERIES)]
            if k < ROUNDS // 2
            else [np.arange(1, SERIES, 2), np.arange(0, SERIES, 2)[::-1]]
        )
        for part in parts:
            bank.step(slots[part], np.full(part.size, k * CADENCE_MS), row[part])


def feed_gaps(bank: Bank, slots: np.ndarray) -> None:
    """Readings left out, steps without a usable value, series that start late or again."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(ROUNDS, SERIES)).cumsum(0)
    last = np.full(SERIES, -1)
    for k, row in enumerate(values):
        here = np.flatnonzero(((rng.random(SERIES) < 0.9) | (k < 3)) & ((slots < 60) | (k > 40)))
        filled = np.where(last[here] < 0, 0, k - last[here] - 1)
        mask = rng.random(here.size) < 0.05 * (k > 3)
        again = here[(rng.random(here.size) < 0.03) & (k > 3) & (last[here] >= 0)]
        last[here] = k
        bank.restart(slots[again])
        bank.step(slots[here], np.full(here.size, k * CADENCE_MS), row[here], mask, filled)


@pytest.fixture(params=[False, True], ids=["small", "large"], autouse=True)
def is_large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether what holds for large shards holds for these."""
    if request.param:
        monkeypatch.setattr(chunks, "LARGE", 8)
        monkeypatch.setattr(chunks, "YOUNG", 20)
    return bool(request.param)


def go_elsewhere(monkeypatch: pytest.MonkeyPatch, but: tuple[str, ...] = ()) -> None:
    # as many rows as here: others would round otherwise
    monkeypatch.setattr("forecasters.bank.MOST_ROWS", SERIES + -SERIES % TILE)
    monkeypatch.setattr(chunks, "FILLED_TO", TILE)
    for name, module in sys.modules.items():
        if name.startswith("forecasters.") and name not in but and hasattr(module, "is_host"):
            monkeypatch.setattr(module, "is_host", lambda device: False)


@pytest.mark.parametrize("season", [4, 30], ids=["shorter than the horizon", "longer"])
@pytest.mark.parametrize("feed", [feed_rounds, feed_gaps])
def test_the_state_is_the_same(feed: Log, season: int, monkeypatch: pytest.MonkeyPatch) -> None:
    here, slots = make_bank(season)
    feed(here, slots)
    go_elsewhere(monkeypatch, but=HERE)
    elsewhere, slots = make_bank(season)
    feed(elsewhere, slots)
    assert_same(here, elsewhere)


class Calls(TorchDispatchMode):
    """Each operation with the shapes of its tensors, where those lie that were there before, and all else
    that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []
        self._new: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.lift_fresh.default and not args[0].dim():
            self._new.add(find_storage(args[0]))  # a number of the code, such as in `x[0] = 1.0`
        self.made.append(f"{function} {self._describe(args)} {self._describe(kwargs)}")
        there = {find_storage(one) for one in list_tensors((args, kwargs))}
        result = function(*args, **(kwargs or {}))
        self._new |= {find_storage(one) for one in list_tensors(result)} - there
        return result

    def _describe(self, given: Any) -> Any:
        if isinstance(given, torch.Tensor):
            at = find_storage(given)
            return (tuple(given.shape), given.dtype, given.storage_offset(), None if at in self._new else at)
        if isinstance(given, dict):
            return {name: self._describe(one) for name, one in given.items()}
        if isinstance(given, list | tuple):
            return [self._describe(one) for one in given]
        return given


def find_storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def list_tensors(given: Any) -> list[torch.Tensor]:
    return [one for one in tree_leaves(given) if isinstance(one, torch.Tensor)]


@pytest.mark.parametrize("feed", [feed_rounds, feed_gaps])
def test_waves_of_one_form_take_the_same_operations(feed: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    go_elsewhere(monkeypatch)
    seen: dict[tuple[int, Hashable], list[list[str]]] = defaultdict(list)
    run = programs.Programs._run

    def watched(self: programs.Programs, program: programs.Program, subject: Any) -> torch.Tensor | None:
        with Calls() as calls:
            result = run(self, program, subject)
        seen[id(self), id(program)].append(calls.made)
        return result

    monkeypatch.setattr(programs.Programs, "_run", watched)
    bank, slots = make_bank()
    feed(bank, slots)
    repeated = [runs for runs in seen.values() if len(runs) > 1]
    assert sum(map(len, repeated)) > ROUNDS // 3
    for first, *others in repeated:
        for other in others:
            assert other == first


def test_one_that_asks_for_something_else_is_found_out() -> None:
    """As where an operation hangs on what the form does not tell."""
    courier = programs.Courier(torch.device("cpu"))

    def work(number: int) -> torch.Tensor:
        if number > 1:
            return courier.send(lambda n: np.array([n + 1]))
        return courier.send(lambda n: np.array([n]))

    own = programs.Programs(courier, work)
    for number in (0, 1):
        courier.subject = number
        assert own.run("form", number) == number
    courier.subject = 2
    with pytest.raises(RuntimeError, match="expected subjects of one form to ask for the same"):
        own.run("form", 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="what fails here works where a GPU is")
def test_what_can_not_be_recorded_goes_on_as_written(caplog: pytest.LogCaptureFixture) -> None:
    courier = programs.Courier(torch.device("cpu"))
    own = programs.Programs(courier, lambda number: courier.send(lambda n: np.array([n])) + 1)
    own._may_record = True
    for number in range(programs.RUNS_BEFORE + 2):
        courier.subject = number
        assert own.run("form", number) == number + 1
    assert own.recorded == 0
    assert caplog.text.count("could not be recorded and go on one by one") == 1


def test_small_systems_are_solved_as_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(4)
    half = torch.randn(9, 6, 6, dtype=torch.float64, generator=draw) * torch.logspace(-3, 3, 6)
    matrices = half @ half.transpose(1, 2) + 10.0 * torch.eye(6)
    right = torch.randn(9, 6, dtype=torch.float64, generator=draw)
    expected = products.solve(matrices, right)
    go_elsewhere(monkeypatch)
    torch.testing.assert_close(products.solve(matrices, right), expected, rtol=1e-9, atol=1e-12)
