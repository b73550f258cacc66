"""Every promise of the bank, on every registered forecaster (the blend together with all the others)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch

from forecasters import Bank, Result, build
from forecasters.anomaly import AlertOptions, Told
from forecasters.memory import Wave
from forecasters.network import Network
from forecasters.registry import BLEND, NAMES

HORIZON = 6
CADENCE_MS = 3_600_000
SEASON_STEPS = 8
NETS = ("rnn", "lstm", "gru")
COLUMNS = ("base", "departure", "half", "error", "missed", "scored", "scale")

every_forecaster = pytest.mark.parametrize("name", NAMES)
every_net = pytest.mark.parametrize("name", NETS)


def make(name: str, seed: int = 0, **options: float) -> Bank:
    names = NAMES if name == BLEND else (name,)
    # a budget and a grid at which something is judged, noted and paged in so short a log
    alerts = AlertOptions(champion=names[-1], episodes_per_day=20.0, grid_ms=2 * CADENCE_MS, hold=2)
    return build(
        names, horizon=HORIZON, seed=seed, device="cpu", chunk=4, replay=8, pool=32, hidden=8, alerts=alerts,
        **options,
    )  # fmt: skip


def add(bank: Bank, ids: Sequence[str]) -> None:
    bank.add(ids, cadence_ms=CADENCE_MS, season_ms=SEASON_STEPS * CADENCE_MS)


@dataclass(frozen=True, slots=True)
class Reading:
    series: str
    time_ms: int
    value: float
    masked: bool = False
    filled: int = 0


def make_log(steps: int = 40, ids: Sequence[str] = tuple("abcde"), seed: int = 0) -> list[Reading]:
    """Walks with a season; steps masked, filled or left out here and there; the last series joins late."""
    rng = np.random.default_rng(seed)
    walk = rng.normal(size=(steps, len(ids))).cumsum(0)
    log = []
    missing = np.zeros(len(ids), np.int64)
    known = np.zeros(len(ids), bool)
    for t in range(steps):
        for k in rng.permutation(len(ids)):
            late = k == len(ids) - 1 and t < steps // 3
            if late or rng.random() < 0.06:
                missing[k] += 1
                continue
            filled = int(missing[k]) if known[k] and rng.random() < 0.8 else 0
            missing[k], known[k] = 0, True
            masked = rng.random() < 0.06
            value = np.nan if masked else 3 * np.sin(2 * np.pi * t / SEASON_STEPS + k) + walk[t, k] + 10 * k
            log.append(Reading(ids[k], t * CADENCE_MS, float(value), masked, filled))
    return log


def cut(log: Sequence[Reading], rng: np.random.Generator | None = None) -> list[list[Reading]]:
    """Contiguous calls without a series twice: as long as can be, or cut at random places as well."""
    calls: list[list[Reading]] = []
    for reading in log:
        again = not calls or any(r.series == reading.series for r in calls[-1])
        if again or (rng is not None and rng.random() < 0.4):
            calls.append([])
        calls[-1].append(reading)
    return calls


def step(bank: Bank, call: Sequence[Reading]) -> Result:
    slots = np.array([bank.ids.index(r.series) for r in call], np.int64)
    return bank.step(
        slots,
        np.array([r.time_ms for r in call]),
        np.array([r.value for r in call]),
        np.array([r.masked for r in call]),
        np.array([r.filled for r in call]),
    )


def play(bank: Bank, calls: Sequence[Sequence[Reading]]) -> list[bytes]:
    """What every reading brought, bit for bit, in the order of the log."""
    answers = []
    for call in calls:
        result = step(bank, call)
        for k in range(len(call)):
            numbers = [getattr(result, c)[k].numpy() for c in COLUMNS]
            assert result.alarms is not None
            alarms, told = result.alarms, result.alarms.told
            numbers += [alarms.score[k], alarms.exceeds[k], alarms.event[k], alarms.sticks[k]]
            numbers += [getattr(told, c)[told.rows == k] for c in Told.__slots__ if c != "rows"]
            answers.append(b"".join(number.tobytes() for number in numbers))
    return answers


def bits(state: dict[str, torch.Tensor]) -> dict[str, tuple[object, ...]]:
    return {k: (tuple(v.shape), str(v.dtype), v.contiguous().numpy().tobytes()) for k, v in state.items()}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    a, b = bits(one), bits(other)
    return sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))


def last_wave(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> list[Wave]:
    seen: list[Wave] = []
    observe = bank.memory.observe

    def spy(*given: object) -> Wave:
        seen.append(observe(*given))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(bank.memory, "observe", spy)
    return seen


@every_forecaster
def test_forecast_changes_no_state(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = make(name)
    add(bank, "abcde")
    waves = last_wave(bank, monkeypatch)
    for k, call in enumerate(cut(make_log())):
        step(bank, call)
        if k % 7:
            continue
        before = bank.save()
        first, first_raw, first_replaced = bank.forecast(waves[-1])
        again, again_raw, again_replaced = bank.forecast(waves[-1])
        assert differing(before, bank.save()) == []
        own = slice(waves[-1].rows.num)  # padding may be anything, NaN too
        assert torch.equal(first[..., own], again[..., own])
        for one, other in zip(first_raw, again_raw, strict=True):
            assert torch.equal(one[..., own], other[..., own])
        assert torch.equal(first_replaced, again_replaced)


@every_forecaster
def test_step_leaves_its_arguments_alone(name: str) -> None:
    bank = make(name)
    add(bank, "abc")
    for t in range(12):
        given = (
            np.array([2, 0, 1]),
            np.full(3, t * CADENCE_MS),
            np.array([np.nan, 1.0 * t, -2.0 * t]),
            np.array([True, False, False]),
        )
        copies = [a.copy() for a in given]
        bank.step(*given)
        for a, b in zip(given, copies, strict=True):
            np.testing.assert_array_equal(a, b)


@every_forecaster
def test_same_seed_same_numbers_other_seed_other_numbers(name: str) -> None:
    calls = cut(make_log(60))
    answers, states = [], []
    for seed in (3, 3, 4):
        bank = make(name, seed)
        add(bank, "abcde")
        answers.append(play(bank, calls))
        states.append(bank.save())
    assert answers[0] == answers[1]
    assert differing(states[0], states[1]) == []
    learns_by_seed = name in NETS or name == BLEND
    assert (answers[0] != answers[2]) == learns_by_seed
    if name in NETS:
        assert int(states[0][f"shared.{name}.updates"]) > 0, "the log is too short to learn from"


@every_forecaster
def test_save_load_continue_equals_never_stopping(name: str) -> None:
    calls = cut(make_log(), np.random.default_rng(1))
    whole = make(name)
    add(whole, "abcde")
    # cut at random, calls end at every kind of place: before, after and in the middle of a tick
    points = {0, 1, 5, 17, 18, 19, 20, 44, 45, 70, len(calls) - 1}
    answers, saved = [], {}
    in_tick = 0
    for k, call in enumerate(calls):
        if k in points:
            saved[k] = whole.save()  # no copy: that it shares no memory is checked below
            in_tick += int(saved[k]["bank.counts"][2]) > 0
        answers.append(play(whole, [call]))
    assert in_tick >= 3
    for k, state in saved.items():
        resumed = make(name, seed=99)
        resumed.load(state)
        assert differing(state, resumed.save()) == []
        rest = [play(resumed, [call]) for call in calls[k:]]
        assert rest == answers[k:], f"resumed before call {k}"
        assert differing(whole.save(), resumed.save()) == []


@every_forecaster
def test_any_cut_into_calls_gives_the_same(name: str) -> None:
    log = make_log()
    whole = make(name)
    add(whole, "abcde")
    answers = play(whole, cut(log))
    for seed in range(2):
        parts = make(name)
        add(parts, "abcde")
        assert play(parts, cut(log, np.random.default_rng(seed))) == answers
        assert differing(whole.save(), parts.save()) == []


@every_forecaster
def test_forecasts_do_not_depend_on_slots(name: str) -> None:
    calls = cut(make_log())
    answers = []
    for order in ("abcde", "debca"):
        bank = make(name)
        for series in order:
            add(bank, series)
        answers.append(play(bank, calls))
    assert answers[0] == answers[1]


@every_forecaster
def test_company_in_a_call_over_several_tiles_changes_nothing(name: str) -> None:
    ids = [f"s{k}" for k in range(150)]
    log = make_log(14, ids)
    answers = []
    for order, rng in ((ids, None), (ids[::-1], np.random.default_rng(5))):
        bank = make(name)
        add(bank, order)
        calls = cut(log)
        if rng is not None:
            calls = [part for c in calls for part in (c[:70], c[70:71], c[71:]) if part]
        answers.append(play(bank, calls))
    assert answers[0] == answers[1]


BAD = {
    "nan": ([0, 1], [9, 9], [1.0, np.nan], "expected a finite number"),
    "infinity": ([0, 1], [9, 9], [np.inf, 1.0], "expected a finite number"),
    "minus infinity": ([0, 1], [9, 9], [1.0, -np.inf], "expected a finite number"),
    "a series twice": ([1, 1], [9, 10], [1.0, 1.0], "at most once"),
    "an unknown slot": ([0, 2], [9, 9], [1.0, 1.0], "slots: expected"),
    "a negative slot": ([-1, 0], [9, 9], [1.0, 1.0], "slots: expected"),
    "the same time": ([0, 1], [8, 9], [1.0, 1.0], "expected a time after"),
    "an earlier time": ([0, 1], [9, 2], [1.0, 1.0], "expected a time after"),
    "lengths that differ": ([0, 1], [9, 9], [1.0], "one length"),
    "nothing": ([], [], [], "at least one row"),
}


@pytest.mark.parametrize("bad", BAD)
@every_forecaster
def test_refuses_and_changes_nothing(name: str, bad: str) -> None:
    bank = make(name)
    add(bank, "ab")
    for t in range(9):
        bank.step(np.array([0, 1]), np.array([t, t]) * CADENCE_MS, np.array([1.0, 2.0 * t]))
    before = bank.save()
    slots, times, values, sentence = BAD[bad]
    with pytest.raises(ValueError, match=sentence):
        bank.step(np.array(slots, np.int64), np.array(times, np.int64) * CADENCE_MS, np.array(values))
    assert differing(before, bank.save()) == []
    bank.step(np.array([0, 1]), np.array([9, 9]) * CADENCE_MS, np.array([1.0, 2.0]))


@every_forecaster
def test_refuses_series_it_has_and_cadences_that_are_none(name: str) -> None:
    bank = make(name)
    add(bank, "ab")
    before = bank.save()
    for ids in (["a"], ["c", "c"], ["c", "b"], ["c", "d", "c"]):
        with pytest.raises(ValueError, match="expected"):
            add(bank, ids)
    with pytest.raises(ValueError, match="cadence_ms"):
        bank.add(["c"], cadence_ms=0)
    assert differing(before, bank.save()) == []


@pytest.mark.parametrize("num", [1, 10_000])
@every_forecaster
def test_one_and_ten_thousand_series(name: str, num: int) -> None:
    bank = make(name)
    add(bank, [f"s{k}" for k in range(num)])
    slots = np.arange(num)
    steps = 30 if num == 1 else 4
    for t in range(steps):
        result = bank.step(slots, np.full(num, t * CADENCE_MS), np.sin(t + slots))
    assert result.mean.shape == (num, len(bank.names), HORIZON)
    for column in (result.mean, result.lower, result.upper):
        assert torch.isfinite(column).all()
    assert (result.upper >= result.lower).all()
    assert bank.ticks > 0


@every_forecaster
def test_a_late_series_starts_as_the_last_value_and_is_served(name: str) -> None:
    bank = make(name)
    add(bank, "ab")
    for t in range(40):
        if t == 20:
            add(bank, "c")
        slots = np.arange(3 if t >= 20 else 2)
        value = 5.0 * slots + np.sin(t + slots)
        result = bank.step(slots, np.full(slots.size, t * CADENCE_MS), value)
        if t == 20:
            assert (result.mean[2] == value[2]).all()
            assert not result.scored[2].any()
    assert torch.isfinite(result.mean).all()
    assert result.scored[2].all()


@every_forecaster
def test_masked_steps_are_not_scored_and_keep_the_base(name: str) -> None:
    bank = make(name)
    add(bank, "ab")
    slots = np.arange(2)
    for t in range(30):
        hidden = t % 5 == 4
        value = np.array([np.nan if hidden else float(t % 3), 1.0 * t])
        result = bank.step(slots, np.full(2, t * CADENCE_MS), value, np.array([hidden, False]))
        assert torch.isfinite(result.mean).all()
        if hidden:
            assert not result.scored[0].any()
            assert float(result.base[0]) == (t - 1) % 3
    everything_masked = bank.step(
        slots, np.full(2, 30 * CADENCE_MS), np.full(2, np.nan), np.array([True, True])
    )
    assert torch.isfinite(everything_masked.mean).all()


@every_forecaster
def test_what_stands_at_a_masked_place_is_never_read(name: str) -> None:
    states = []
    for filler in (np.nan, np.inf, 1e300, 0.0):
        bank = make(name)
        add(bank, "ab")
        for t in range(20):
            hidden = np.array([t % 4 == 1 or t == 0, False])
            value = np.array([filler if hidden[0] else np.cos(t), 1.0 * t])
            bank.step(np.arange(2), np.full(2, t * CADENCE_MS), value, hidden)
        states.append(bank.save())
    for state in states[1:]:
        assert differing(states[0], state) == []


@every_forecaster
def test_restart_drops_pending_forecasts(name: str) -> None:
    bank = make(name)
    add(bank, "ab")
    slots = np.arange(2)
    for t in range(30):
        bank.step(slots, np.full(2, t * CADENCE_MS), np.array([np.sin(t), np.cos(t)]))
    bank.restart(np.array([1]))
    late = 5_000 * CADENCE_MS
    result = bank.step(slots, np.full(2, late), np.array([0.1, 50.0]))
    assert result.scored[0].all()
    assert not result.scored[1].any()
    assert torch.isfinite(result.mean).all()
    for t in range(1, 12):
        result = bank.step(slots, np.full(2, late + t * CADENCE_MS), np.array([np.sin(t), 50 + np.cos(t)]))
        assert result.scored[1].tolist() == [h <= t for h in bank.scored]
    assert torch.isfinite(result.mean).all()


@every_forecaster
def test_restart_is_the_same_alone_and_in_company(name: str) -> None:
    states = []
    for groups in ([[0, 1, 2]], [[2], [0], [1]], [[1, 1, 0], [2]]):
        bank = make(name)
        add(bank, "abc")
        for t in range(20):
            bank.step(np.arange(3), np.full(3, t * CADENCE_MS), np.sin(t + np.arange(3)))
        for group in groups:
            bank.restart(np.array(group))
        states.append(bank.save())
    assert differing(states[0], states[1]) == []
    assert differing(states[0], states[2]) == []


@pytest.mark.parametrize("value", [0.0, 21.7, -3e9, 1e-9])
@every_forecaster
def test_a_constant_series_is_forecast_as_its_value(name: str, value: float) -> None:
    bank = make(name)
    add(bank, "ab")
    rng = np.random.default_rng(2)
    for t in range(40):  # a lively neighbour teaches the shared weights something
        now = np.array([value, rng.normal()])
        result = bank.step(np.arange(2), np.full(2, t * CADENCE_MS), now)
        assert (result.mean[0] == value).all(), t


@every_forecaster
def test_input_without_bounds_never_makes_anything_infinite(name: str) -> None:
    bank = make(name)
    add(bank, "abc")
    rng = np.random.default_rng(3)
    for t in range(60):
        values = np.array([1e30 * rng.normal(), 1e38 * (-1) ** t if t > 30 else rng.normal(), rng.normal()])
        if t < 20:
            values[0] = rng.normal()
        result = bank.step(np.arange(3), np.full(3, t * CADENCE_MS), values)
        for column in ("mean", "lower", "upper", "scale"):
            assert torch.isfinite(getattr(result, column)).all(), (t, column)
    for key, state in bank.save().items():
        if key.endswith((".weights", ".state", ".covariance", ".coefficients", "adam.first", "adam.second")):
            assert torch.isfinite(state).all(), key


@pytest.mark.parametrize("sentinel", [1e30, 1e38, 3.4028234663852886e38, 1.7976931348623157e308])
@every_forecaster
def test_one_sentinel_value_stops_neither_the_series_nor_its_neighbours(name: str, sentinel: float) -> None:
    """Historians write the largest float32 or float64 where they mean no value. It is finite."""
    bank = make(name)
    add(bank, "ab")
    rng = np.random.default_rng(4)
    for t in range(90):
        values = rng.normal(size=2)
        if t == 30:
            values[0] = sentinel
            before = bank.save()
        result = bank.step(np.arange(2), np.full(2, t * CADENCE_MS), values)
    for column in ("mean", "lower", "upper", "scale"):
        assert torch.isfinite(getattr(result, column)).all(), column
    state = bank.save()
    for net in bank.nets:
        assert float(state[f"shared.{net}.adam.skipped"]) == 0
        assert float(state[f"shared.{net}.adam.applied"]) > float(before[f"shared.{net}.adam.applied"])
    allowed = ("season", "pool_target", "smallest_difference")  # NaN or infinity means "none yet" there
    bad = [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    assert [k for k in bad if not k.endswith(allowed)] == []


@pytest.mark.parametrize("poison", ["loss", "gradient"])
@every_net
def test_a_diverging_loss_does_not_reach_the_weights(
    name: str, poison: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make(name)
    add(bank, "abcde")
    calls = cut(make_log(60))
    for call in calls[:30]:
        step(bank, call)
    before = bank.save()
    accumulate = Network.accumulate

    def poisoned(self: Network, *given: object) -> torch.Tensor:
        loss = accumulate(self, *given)  # type: ignore[arg-type]
        if poison == "loss":
            return torch.full_like(loss, float("nan"))
        self.gradient[3] = float("nan")
        return loss

    monkeypatch.setattr(Network, "accumulate", poisoned)
    for call in calls[30:]:
        assert torch.isfinite(step(bank, call).mean).all()
    after = bank.save()
    prefix = f"shared.{name}."
    tried = int(after[f"{prefix}updates"]) - int(before[f"{prefix}updates"])
    assert tried > 0
    assert float(after[f"{prefix}adam.skipped"]) == tried
    for key in ("weights", "adam.first", "adam.second", "adam.applied", "adam.norm"):
        key = prefix + key
        assert bits({key: before[key]}) == bits({key: after[key]})


@every_net
def test_an_untrained_net_is_naive(name: str) -> None:
    """But at the first step, which is each series' own regression and learns from its third reading on."""
    bank = build(
        ("naive", name), horizon=HORIZON, device="cpu", chunk=4, replay=8, pool=32, hidden=8, layers=2
    )
    add(bank, "abcde")
    for call in cut(make_log()):
        result = step(bank, call)
        if int(bank.save()[f"shared.{name}.updates"]):
            break
        assert torch.equal(result.mean[:, 0, 1:], result.mean[:, 1, 1:])
    else:
        pytest.fail("the log is too short to learn from")


@every_net
def test_learning_reaches_the_published_forecasts(name: str) -> None:
    bank = build(("naive", name), horizon=HORIZON, device="cpu", chunk=4, replay=8, pool=32, hidden=8)
    add(bank, "abc")
    error = []
    for t in range(250):
        value = np.sin(2 * np.pi * t / SEASON_STEPS + np.arange(3))
        result = bank.step(np.arange(3), np.full(3, t * CADENCE_MS), value)
        error.append((result.error**2).mean((0, 2)).numpy())
    naive, net = np.mean(error[-50:], axis=0)
    assert net < 0.5 * naive


def test_one_more_forecaster_changes_nothing_in_the_others() -> None:
    calls = cut(make_log())
    published = []
    for names in (("lstm",), ("naive", "gru", "lstm")):
        bank = build(names, horizon=HORIZON, device="cpu", chunk=4, replay=8, pool=32, hidden=8)
        add(bank, "abcde")
        at = names.index("lstm")
        published.append([step(bank, call).mean[:, at].numpy().tobytes() for call in calls])
    assert published[0] == published[1]


@every_forecaster
def test_a_removed_series_leaves_nothing_behind(name: str) -> None:
    """Its slot goes to the next new one, which is served as if no other had been there."""
    calls = cut(make_log(60))
    bank, fresh = make(name), make(name)
    add(bank, ["x", *"abcde"])
    for t in range(20):  # all masked: shared weights learn nothing
        bank.step(np.array([0]), np.array([t * CADENCE_MS]), np.array([np.nan]), np.array([True]))
    bank.remove(np.array([0]))
    add(bank, "f")
    assert bank.ids == list("fabcde")
    add(fresh, "fabcde")
    late = [
        [Reading("f", r.time_ms, r.value + 1, r.masked) for r in call if r.series == "a"] for call in calls
    ]
    mixed = [call + extra for call, extra in zip(calls, late, strict=True)]
    assert play(bank, mixed) == play(fresh, mixed)
    assert differing(bank.save(), fresh.save()) == []


@every_forecaster
def test_removal_amid_a_tick_is_saved_and_does_not_depend_on_slots(name: str) -> None:
    calls = cut(make_log(60))
    for at in (31, 32, 33):
        answers = []
        for order in ("abcde", "edcba"):
            bank = make(name)
            add(bank, order)
            said = play(bank, calls[:at])
            bank.remove(np.array([bank.ids.index(s) for s in "bd"]))
            resumed = make(name, seed=9)
            resumed.load(bank.save())
            assert differing(bank.save(), resumed.save()) == []
            rest = [[r for r in call if r.series not in "bd"] for call in calls[at:]]
            rest = [call for call in rest if call]
            said += play(resumed, rest)
            assert said[-1:] == play(bank, rest)[-1:]
            add(resumed, "bz")
            assert sorted(resumed.ids) == list("abcez")
            answers.append(said)
        assert answers[0] == answers[1]


def test_a_slot_without_a_series_is_refused() -> None:
    bank = make("naive")
    add(bank, "abc")
    bank.remove(np.array([1]))
    for call in (lambda: step_slot(bank, 1), lambda: bank.remove(np.array([1])), lambda: step_slot(bank, 3)):
        with pytest.raises(ValueError, match="slots: expected"):
            call()
    step_slot(bank, 2)


def test_a_wave_like_the_last_one_is_checked_as_any_other() -> None:
    """What is known of the last wave's slots holds only while no series has come or gone."""
    bank, twin = make("rnn"), make("rnn")
    for one in (bank, twin):
        add(one, "abc")
    slots = np.array([0, 1])
    for t in range(3):
        bank.step(slots, np.full(2, t * CADENCE_MS), np.array([1.0, 2.0]))
        for slot, value in ((0, 1.0), (1, 2.0)):
            twin.step(np.array([slot]), np.array([t * CADENCE_MS]), np.array([value]))
    assert differing(bank.save(), twin.save()) == []
    slots[1] = 0
    with pytest.raises(ValueError, match="at most once in a wave"):
        bank.step(slots, np.full(2, 3 * CADENCE_MS), np.array([1.0, 2.0]))
    slots[1] = 1
    bank.remove(np.array([1]))
    with pytest.raises(ValueError, match="where one was removed"):
        bank.step(slots, np.full(2, 3 * CADENCE_MS), np.array([1.0, 2.0]))
    more = [f"x{k}" for k in range(200)]  # room grows, and the padding lies elsewhere
    add(bank, more)
    add(twin, ["y", *more[:-1]])
    for one in (bank, twin):
        one.step(np.array([0, 1]), np.full(2, 3 * CADENCE_MS), np.array([1.0, 2.0]))
        assert one.timetable["step"][[0, 1]].tolist() == ([3, 0] if one is bank else [3, 3])


def step_slot(bank: Bank, slot: int) -> Result:
    return bank.step(np.array([slot]), np.array([0]), np.array([1.0]))


@every_net
def test_series_without_a_reading_do_not_time_the_training(name: str) -> None:
    """They made up a tile with those that were due, so that it mattered when they were added."""
    calls = cut(make_log(40))
    answers = []
    for waiting in (0, 200):
        bank = make(name)
        add(bank, "abcde")
        said = play(bank, calls[:18])
        add(bank, [f"w{k}" for k in range(waiting)])
        answers.append(said + play(bank, calls[18:]))
    assert answers[0] == answers[1]


def test_grouping_within_a_tick_leaves_no_trace_in_what_is_saved() -> None:
    log = [
        Reading("a", 20 * CADENCE_MS, 1.0),
        Reading("a", 21 * CADENCE_MS, 2.0),
        Reading("b", 20 * CADENCE_MS, 3.0),
    ]
    states = []
    for waves in ([[0, 2], [1]], [[0], [1], [2]], [[2], [0], [1]]):
        bank = make(BLEND)
        add(bank, "abcde")
        for t in range(20):
            step(bank, [Reading(name, t * CADENCE_MS, float(t)) for name in "abcde"])
        assert bank.readings_to_tick > len(log)
        for wave in waves:
            step(bank, [log[at] for at in wave])
        states.append(bank.save())
    assert differing(states[0], states[1]) == differing(states[0], states[2]) == []


def test_the_stack_learns_at_every_fourth_tick_also_after_a_resume() -> None:
    """Its coefficients move then and only then: a resumed bank goes on counting."""
    bank, moved = build(["naive", "linear", "rnn", "blend"], horizon=4, device="cpu", hidden=4), []
    bank.add(["a"], cadence_ms=1_000)
    rng = np.random.default_rng(0)
    for k in range(40):
        if k == 22:
            state = bank.save()
            bank = build(["naive", "linear", "rnn", "blend"], horizon=4, device="cpu", hidden=4)
            bank.load(state)
        assert bank.blend is not None
        before, ticks = bank.blend.coefficients.clone(), bank.ticks
        bank.step(np.array([0]), np.array([k * 1_000]), rng.normal(size=1))
        if not torch.equal(before, bank.blend.coefficients):
            moved.append(ticks)
    assert len(moved) >= 8
    assert all(ticks % 4 == 0 for ticks in moved)
    assert {later - earlier for earlier, later in pairwise(moved)} == {4}
