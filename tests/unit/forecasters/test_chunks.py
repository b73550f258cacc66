"""Which chunks are trained, and on what, against a reference that is slow and obvious."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from forecasters import Bank, build
from forecasters.chunks import Batch, Chunks, Plan
from forecasters.memory import CLIP, MASKED, NUM_FEATURES

Ints = npt.NDArray[np.int64]

CADENCE_MS = 60_000
SERIES, LATE, WAVES = 70, 9, 90


def make(horizon: int, chunk: int, replay: int) -> Bank:
    return build(
        ("naive", "rnn"), horizon=horizon, seed=1, device="cpu", chunk=chunk, replay=replay, pool=16, hidden=8
    )


def feed(bank: Bank, waves: int) -> Iterator[int]:
    """Some readings are masked; some series begin late, one has a gap."""
    rng = np.random.default_rng(0)
    bank.add([f"s{k}" for k in range(SERIES - LATE)], cadence_ms=CADENCE_MS)
    walk = np.zeros(SERIES)
    for t in range(waves):
        if t == waves // 3:
            bank.add([f"s{k}" for k in range(SERIES - LATE, SERIES)], cadence_ms=CADENCE_MS)
        walk += rng.normal(size=SERIES)
        slots = np.arange(len(bank.ids))
        if waves // 2 < t < waves // 2 + 7:
            slots = slots[1:]
        masked = rng.random(slots.size) < 0.05
        bank.step(slots, np.full(slots.size, t * CADENCE_MS), walk[slots], masked)
        yield t


def find_due(chunks: Chunks, steps: Ints) -> npt.NDArray[np.bool_]:
    slots = np.arange(steps.size)
    is_due: npt.NDArray[np.bool_] = (steps >= 0) & (chunks.newest(slots, steps) > chunks.trained[slots])
    return is_due


@pytest.mark.parametrize(("horizon", "chunk"), [(1, 16), (3, 4), (24, 16), (7, 5)])
def test_ready_at_says_whether_there_is_a_later_chunk(horizon: int, chunk: int) -> None:
    bank = make(horizon, chunk, replay=0)
    for t in feed(bank, WAVES):
        if t == WAVES - 20:
            bank.remove(np.array([2, 5]))
            assert bank.add(["another"], cadence_ms=CADENCE_MS).tolist() == [2]
            break
    resumed = make(horizon, chunk, replay=0)
    resumed.load(bank.save())
    for each in (bank, resumed):
        chunks, steps = each.chunks, each.timetable["step"]
        is_due = steps >= chunks.ready_at
        assert is_due.tolist() == find_due(chunks, steps).tolist()
        for ahead in range(2 * chunk):
            later = np.where(steps >= 0, steps + ahead, steps)
            assert (later >= chunks.ready_at).tolist() == find_due(chunks, later).tolist()


@pytest.mark.parametrize("replay", [0, 3])
@pytest.mark.parametrize(("horizon", "chunk"), [(1, 16), (3, 4), (24, 16), (7, 5)])
def test_a_batch_is_what_the_rings_hold(
    horizon: int, chunk: int, replay: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_plan, batch = Chunks.plan, Chunks.batch
    asked: list[tuple[Ints, Ints, Ints]] = []
    seen = []

    def planned(
        self: Chunks, slots: Ints, steps: Ints, restart: Ints, live: int, generator: torch.Generator
    ) -> Plan | None:
        asked.append((slots, steps, restart))
        return make_plan(self, slots, steps, restart, live, generator)

    def checked(self: Chunks, plan: Plan) -> Batch:
        pool = self.pool_x.clone(), self.pool_target.clone()
        given = batch(self, plan)
        assert_alike(self, given, expect(self, *asked[-1]), pool)
        seen.append(given.begun_at.numel())
        return given

    monkeypatch.setattr(Chunks, "plan", planned)
    monkeypatch.setattr(Chunks, "batch", checked)
    for _ in feed(make(horizon, chunk, replay), WAVES):
        pass
    assert len(seen) > 2


Expected = list[tuple[int, int, list[tuple[list[float], list[float]]]]]


def expect(chunks: Chunks, slots: Ints, steps: Ints, restart: Ints) -> Expected:
    """By chunk: its number, and of each origin the features, and the targets or NaN."""
    rings, length, expected = chunks.memory.rings, chunks.memory.ring_length, []
    newest = chunks.newest(slots, steps)
    for back in (chunks.behind, 0) if chunks.behind else (0,):
        for slot, now, since, number in zip(slots, steps, restart, newest - back, strict=True):
            first = (number - 1) * chunks.chunk - chunks.offset[slot]
            if first < since:
                continue
            origins = []
            for origin in range(first, first + chunks.chunk):
                value, scale = rings["level"][slot, origin % length]
                targets = []
                for step in range(origin + 1, origin + 1 + chunks.horizon):
                    is_there = step <= now and not rings["features"][slot, step % length, MASKED]
                    target = (rings["level"][slot, step % length, 0] - value) / scale
                    targets.append(float(target.clamp(-CLIP, CLIP)) if is_there else float("nan"))
                features = rings["features"][slot, origin % length, :NUM_FEATURES].tolist()
                origins.append((features, targets))
            expected.append(
                (int(slot * chunks.states_kept(chunks.horizon, chunks.chunk)), int(number), origins)
            )
    return expected


def assert_alike(
    chunks: Chunks, given: Batch, expected: Expected, pool: tuple[torch.Tensor, torch.Tensor]
) -> None:
    kept = chunks.states_kept(chunks.horizon, chunks.chunk)
    assert given.begun_at.tolist() == [at + (number - 1) % kept for at, number, _ in expected]
    x = torch.tensor([[features for features, _ in origins] for *_, origins in expected])
    target = torch.tensor([[targets for _, targets in origins] for *_, origins in expected])
    old_x, old_target = (part[given.replayed].to(torch.float32) for part in pool)
    x, target = torch.cat([x, old_x]), torch.cat([target, old_target.clamp(-CLIP, CLIP)])
    used = len(x)
    assert given.x_KFB.shape[2] % 64 == 0
    assert torch.equal(given.x_KFB[:, :NUM_FEATURES, :used].permute(2, 0, 1).to(torch.float32), x)
    is_target = ~torch.isnan(target)
    weight = is_target / is_target.sum().clamp(min=1)
    assert torch.equal(given.weight_KHB[..., :used].permute(2, 0, 1), weight)
    assert (given.weight_KHB[..., used:] == 0).all()
    assert torch.isfinite(given.target_KHB).all()
    assert torch.equal(given.target_KHB[..., :used].permute(2, 0, 1)[is_target], target[is_target])
    assert torch.equal(chunks.pool_x[given.kept_at], x[given.kept_from].to(torch.float16))
