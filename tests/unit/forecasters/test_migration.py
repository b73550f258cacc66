"""Each row of "signatures per component", with real small banks: what goes on, and what starts anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from forecasters import Bank, Result, build
from forecasters.registry import NAMES

CADENCE_MS = 3_600_000
IDS = [f"boiler/{k}/temp" for k in range(7)]
STEPS = 90
COMPARED_ANEW = "comparison: other forecasters or steps; starts anew"


def make(names: Sequence[str] = NAMES, **changed: float) -> Bank:
    options: dict[str, float] = {"horizon": 6, "chunk": 4, "replay": 8, "pool": 32, "hidden": 8, "seed": 1}
    options |= changed
    return build(names, device="cpu", **options)  # type: ignore[arg-type]


def feed(bank: Bank, first: int, last: int) -> list[Result]:
    """Steps first … last - 1 of every series: daily waves with noise, a masked step here and there."""
    results = []
    for t in range(first, last):
        rng = np.random.default_rng(t)
        slots = np.arange(len(IDS))
        values = 50 + 10 * slots + 5 * np.sin(2 * np.pi * (t + slots) / 24) + rng.normal(size=len(IDS))
        mask = rng.random(len(IDS)) < 0.05
        results.append(bank.step(slots, np.full(len(IDS), t * CADENCE_MS), values, mask))
    return results


def learn(names: Sequence[str] = NAMES, **changed: float) -> Bank:
    bank = make(names, **changed)
    bank.add(IDS, cadence_ms=CADENCE_MS, season_ms=24 * CADENCE_MS)
    feed(bank, 0, STEPS)
    return bank


@pytest.fixture(scope="module")
def learnt() -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    bank = learn()
    assert min(int(bank.save()[f"shared.{n}.updates"]) for n in bank.nets) > 5
    return bank.save(), bank.signatures()


def resume(learnt: tuple[dict[str, torch.Tensor], dict[str, str]], bank: Bank) -> list[str]:
    return bank.load(*learnt)


def said(results: Sequence[Result], bank: Bank, name: str) -> list[bytes]:
    at = bank.names.index(name)
    return [b"".join(t[:, at].numpy().tobytes() for t in (r.mean, r.lower, r.upper)) for r in results]


def assert_sensible(bank: Bank, results: Sequence[Result]) -> None:
    """Finite, within reach of what the series do, and better than nothing by the end."""
    for result in results:
        for column in (result.mean, result.lower, result.upper):
            assert torch.isfinite(column).all()
        assert (result.upper >= result.lower).all()
        assert ((result.mean > 20) & (result.mean < 150)).all()
    error = torch.stack([r.error.abs().where(r.scored[:, None], 0.0).mean((0, 2)) for r in results[-40:]])
    by_name = dict(zip(bank.names, error.mean(0).tolist(), strict=True))
    assert by_name["linear"] < by_name["naive"]
    for net in bank.nets:
        assert by_name[net] < 1.3 * by_name["naive"], net


def test_equal_configuration_is_taken_bit_for_bit(learnt: tuple[dict, dict]) -> None:
    one, other = make(), make(seed=9)
    assert resume(learnt, one) == []
    other.load(learnt[0])
    for key, value in learnt[0].items():
        assert torch.equal(value.nan_to_num(7.0), one.save()[key].nan_to_num(7.0)), key
    results, expected = feed(one, STEPS, STEPS + 20), feed(other, STEPS, STEPS + 20)
    for name in one.names:
        assert said(results, one, name) == said(expected, other, name)


@pytest.mark.parametrize(
    "key", ["rate", "early_rate", "clip", "gate_ridge", "gate_forgetting", "replay", "seed"]
)
def test_learning_keys_invalidate_nothing(learnt: tuple[dict, dict], key: str) -> None:
    bank = make(**{key: 3 if key in ("replay", "seed") else 0.5})
    assert bank.signatures() == learnt[1]
    assert resume(learnt, bank) == []


def test_an_added_forecaster_starts_cold_and_the_others_go_on_bit_for_bit() -> None:
    before = ("naive", "linear", "rnn", "blend")
    old = learn(before)
    new = make(("naive", "linear", "gru", "rnn", "blend"))
    notes = new.load(old.save(), old.signatures())
    assert notes == ["gru: new, starts cold beside the others", COMPARED_ANEW]
    results, expected = feed(new, STEPS, STEPS + 60), feed(old, STEPS, STEPS + 60)
    for name in ("naive", "linear", "rnn"):
        assert said(results, new, name) == said(expected, old, name), name
    at = new.names.index("gru")
    # but at the first step, which is each series' own regression
    assert torch.equal(results[0].mean[:, at, 1:], results[0].mean[:, 0, 1:]), "an untrained net is naive"
    assert float(new.save()["shared.gru.adam.applied"]) > 0
    assert_sensible(new, results)
    # its intervals are no narrower than those of the others were, and misses are not its beginning
    assert (results[0].half[:, at] >= expected[0].half[:, [0, 1, 2]].amax(1) * 0.9).all()


def test_a_newcomer_has_to_earn_its_share_of_the_blend() -> None:
    old = learn(("naive", "linear", "rnn", "blend"))
    new = make(("naive", "linear", "gru", "rnn", "blend"))
    new.load(old.save(), old.signatures())
    losses = new.save()["blend.losses"]
    assert (losses[:, 2] >= losses.amax(1) - 1e-6).all()
    gap = (feed(new, STEPS, STEPS + 1)[0].mean[:, -1] - feed(old, STEPS, STEPS + 1)[0].mean[:, -1]).abs()
    assert gap.max() < 1.5


@pytest.mark.parametrize("gone", ["naive", "linear", "lstm", "seasonal_naive"])
def test_a_removed_forecaster_is_left_out(learnt: tuple[dict, dict], gone: str) -> None:
    bank = make([n for n in NAMES if n != gone])
    whole = make()
    resume(learnt, whole)
    assert resume(learnt, bank) == [f"{gone}: no longer asked for, left out", COMPARED_ANEW]
    results, expected = feed(bank, STEPS, STEPS + 50), feed(whole, STEPS, STEPS + 50)
    for name in bank.experts:
        assert said(results, bank, name) == said(expected, whole, name), name
    assert torch.isfinite(results[-1].mean).all()
    gap = (results[0].mean[:, -1] - expected[0].mean[:, -1]).abs()
    assert gap.max() < 2.0, "the blend goes on with the others"


def test_the_blend_removed_and_added(learnt: tuple[dict, dict]) -> None:
    without = make([n for n in NAMES if n != "blend"])
    assert resume(learnt, without) == ["blend: no longer asked for, left out", COMPARED_ANEW]
    feed(without, STEPS, STEPS + 10)
    again = make()
    assert again.load(without.save(), without.signatures()) == [
        "blend: new, starts cold beside the others",
        COMPARED_ANEW,
    ]
    assert_sensible(again, feed(again, STEPS + 10, STEPS + 70))


def test_another_order_of_names_changes_no_forecast(learnt: tuple[dict, dict]) -> None:
    names = ("lstm", "linear", "gru", "blend", "naive", "rnn", "seasonal_naive")
    bank, whole = make(names), make()
    assert resume(learnt, bank) == [COMPARED_ANEW]
    resume(learnt, whole)
    results, expected = feed(bank, STEPS, STEPS + 30), feed(whole, STEPS, STEPS + 30)
    for name in bank.experts:
        assert said(results, bank, name) == said(expected, whole, name), name
    at, there = names.index("blend"), NAMES.index("blend")
    for one, other in zip(results, expected, strict=True):
        torch.testing.assert_close(one.mean[:, at], other.mean[:, there], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_another_size_restarts_that_network_alone(name: str) -> None:
    names = ("naive", "linear", name)
    old = learn(names)
    new = make(names, hidden=12)
    notes = new.load(old.save(), old.signatures())
    assert notes == [f"{name}: hidden 8 → 12; starts anew, its state from the histories"]
    state = new.save()[f"forecaster.{name}.state"]
    assert (state.abs().amax(1) > 0).all(), "burnt in from the rings"
    expected = new.save()[f"forecaster.{name}.state"].clone()
    slots = torch.arange(len(IDS))
    with torch.inference_mode():
        new.models[name].rebuild(slots, torch.full((len(IDS),), STEPS - 1))
    torch.testing.assert_close(new.save()[f"forecaster.{name}.state"], expected)
    results, others = feed(new, STEPS, STEPS + 80), feed(old, STEPS, STEPS + 80)
    for other in ("naive", "linear"):
        assert said(results, new, other) == said(others, old, other)
    assert torch.equal(results[0].mean[:, 2, 1:], results[0].mean[:, 0, 1:])
    assert_sensible(new, results)


def test_more_layers_restart_the_networks_alone(learnt: tuple[dict, dict]) -> None:
    bank, whole = make(layers=2), make()
    notes = resume(learnt, bank)
    assert notes == [f"{n}: layers 1 → 2; starts anew, its state from the histories" for n in bank.nets]
    resume(learnt, whole)
    results, expected = feed(bank, STEPS, STEPS + 80), feed(whole, STEPS, STEPS + 80)
    for name in ("naive", "seasonal_naive", "linear"):
        assert said(results, bank, name) == said(expected, whole, name)
    assert_sensible(bank, results)


@pytest.mark.parametrize("horizon", [2, 9, 60])
def test_another_horizon_keeps_weights_and_common_steps(learnt: tuple[dict, dict], horizon: int) -> None:
    bank = make(horizon=horizon)
    assert resume(learnt, bank) == [
        f"horizon 6 → {horizon}: common steps and weights go on",
        COMPARED_ANEW,
    ]
    state, old = bank.save(), learnt[0]
    common = min(horizon, 6)
    for name in bank.nets:
        network = bank.models[name].network  # type: ignore[attr-defined]
        head = network.head["bo"].numel() + network.head["skip"].numel() + network.head["wo"].numel()
        layers = network.weights.numel() - head
        assert torch.equal(state[f"shared.{name}.weights"][:layers], old[f"shared.{name}.weights"][:layers])
        assert torch.equal(state[f"shared.{name}.weights"][-horizon:][:common],
                           old[f"shared.{name}.weights"][-6:][:common])  # fmt: skip
        for part in network.head.values():
            assert (part[..., common:] == 0).all(), "new rows of the head are zero"
            assert (part[..., :common] != 0).any()
        assert torch.equal(state[f"forecaster.{name}.state"], old[f"forecaster.{name}.state"])
    weights = "forecaster.linear.weights"
    assert torch.equal(state[weights][:, -common:], old[weights][:, -common:]), "the longest step comes first"
    assert (state[weights][:, : horizon - common] == 0).all()
    whole = make()
    resume(learnt, whole)
    results, expected = feed(bank, STEPS, STEPS + 130), feed(whole, STEPS, STEPS + 130)
    # what was forecast before for steps that both score is scored alike, to the bit
    for k, h in enumerate(bank.scored):
        if h in whole.scored:
            j = whole.scored.index(h)
            for at in range(len(NAMES)):
                assert torch.equal(results[0].error[:, at, k], expected[0].error[:, at, j]), (h, NAMES[at])
    assert_sensible(bank, results)
    for result in results[horizon:]:
        assert torch.isfinite(result.error).all()


def test_there_and_back_again_scores_what_was_pending(learnt: tuple[dict, dict]) -> None:
    """Six steps, then nine, then six: the rings of the histories are cut at the same places again."""
    wide = make(horizon=9)
    resume(learnt, wide)
    back, whole = make(), make()
    back.load(wide.save(), wide.signatures())
    resume(learnt, whole)
    for key in ("rings.features", "pending.said", "intervals.error", "blend.losses"):
        assert torch.equal(back.save()[key], whole.save()[key]), key


def test_another_chunk_keeps_weights_and_trains_again(learnt: tuple[dict, dict]) -> None:
    bank = make(chunk=6)
    assert resume(learnt, bank) == ["chunk 4 → 6: weights go on, training waits for the first whole chunk"]
    before = bank.save()
    for name in bank.nets:
        assert torch.equal(before[f"shared.{name}.weights"], learnt[0][f"shared.{name}.weights"])
    results = feed(bank, STEPS, STEPS + 80)
    for name in bank.nets:
        key = f"shared.{name}.updates"
        assert int(bank.save()[key]) > int(before[key])
    assert_sensible(bank, results)


def test_another_pool_and_coverage(learnt: tuple[dict, dict]) -> None:
    bank = make(pool=8, coverage=0.5)
    assert resume(learnt, bank) == ["intervals: coverage 0.9 → 0.5; errors go on, factors start anew"]
    state = bank.save()
    assert torch.equal(state["intervals.error"], learnt[0]["intervals.error"])
    assert int(state["chunks.counts"][0]) <= 8
    assert torch.equal(state["chunks.pool_x"], learnt[0]["chunks.pool_x"][:8])
    assert_sensible(bank, feed(bank, STEPS, STEPS + 60))


def test_other_features_restart_what_reads_them(learnt: tuple[dict, dict]) -> None:
    """As if the state came from a version with one feature less."""
    state, signatures = dict(learnt[0]), dict(learnt[1])
    for key in ("rings.features", "chunks.pool_x"):
        state[key] = state[key][..., :-1].clone()
    for key, text in signatures.items():
        signatures[key] = text.replace("features=", "features=1")
    bank = make()
    notes = bank.load(state, signatures)
    assert [n.partition(":")[0] for n in notes if "starts anew" in n] == ["linear", "rnn", "lstm", "gru"]
    results = feed(bank, STEPS, STEPS + 100)
    assert_sensible(bank, results)
    whole = make()
    resume(learnt, whole)
    assert said(results, bank, "seasonal_naive") == said(
        feed(whole, STEPS, STEPS + 100), whole, "seasonal_naive"
    )


def test_everything_at_once(learnt: tuple[dict, dict]) -> None:
    bank = make(("naive", "lstm", "linear", "blend"), horizon=12, hidden=5, chunk=5, pool=40, coverage=0.8)
    notes = resume(learnt, bank)
    assert len(notes) == 7
    assert_sensible(bank, feed(bank, STEPS, STEPS + 100))


def test_series_that_were_never_read_come_along() -> None:
    old = make()
    old.add(IDS, cadence_ms=CADENCE_MS, season_ms=24 * CADENCE_MS)
    new = make(("naive", "gru", "linear"), horizon=12, hidden=4)
    new.load(old.save(), old.signatures())
    results = feed(new, 0, 100)
    assert_sensible(new, results[5:])  # every series has had a value by then


def test_a_state_of_another_make_is_refused(learnt: tuple[dict, dict]) -> None:
    signatures = {**learnt[1], "series": "version=7; layout=abc; chunk=4"}
    with pytest.raises(
        ValueError, match="series: expected a state of version 1, found 7; load it with the ver"
    ):
        make().load(learnt[0], signatures)
    del signatures["series"]
    with pytest.raises(ValueError, match="found None"):
        make().load(learnt[0], signatures)
