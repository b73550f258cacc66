"""State of a bank that was built otherwise: what of it goes on here, what starts anew, and words for both.

A `Migration` fills the state of a fresh bank with what fits of the old one. It knows these changes:

- a forecaster more: it starts cold beside the others, and counts as having said naive until now, with the
  widest interval and the largest loss of the others; one less is left out;
- another horizon: recurrent weights and the common steps stay, new rows of the head are zero (naive);
- another size of a network, other features: that forecaster starts anew, its state from the histories;
- another length of chunks: the pool is emptied and training waits for the first whole chunk;
- another coverage: errors stay, the factors of the intervals start anew.

Letters: N series, E forecasters, X experts, Q scored steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from forecasters.blend import SHARED
from forecasters.intervals import FIRST_FACTOR
from forecasters.recurrent import Recurrent
from forecasters.registry import BLEND
from forecasters.remapping import places, to_names, to_ring, to_steps
from forecasters.signatures import (
    ALERTING,
    BLENDING,
    CHUNKS,
    COMPARING,
    FOLLOWING,
    INTERVALS,
    IRREGULAR,
    PENDING,
    RINGS,
    SERIES,
    TICKS,
    listed,
    parse,
)
from forecasters.timetable import SETTLED

if TYPE_CHECKING:
    from forecasters.bank import Bank

Tensor = torch.Tensor

RESHAPED = ("horizon", "chunk", "pool", "length")
"""Keys of a forecaster's signature that leave its weights valid."""


class Migration:
    """`state`: of this bank, to be restored; `notes`: sentences to say aloud; `cold`: networks whose state is
    to be rebuilt from the histories; `mixed_anew`: whether the blend must solve for its coefficients.

    The bank must have the series of the state and nothing else. Raises ValueError where the shared memory of
    the series is of another make: no forecaster could go on then.
    """

    def __init__(self, bank: Bank, state: Mapping[str, Tensor], old: Mapping[str, str]) -> None:
        self.bank = bank
        self.old_state = state
        self.old = {name: parse(text) for name, text in old.items()}
        self.new = {name: parse(text) for name, text in bank.signatures().items()}
        self.state = bank.save()
        self.notes: list[str] = []
        self._refuse_other_makes()
        self.featured = self.old[RINGS]["features"] == self.new[RINGS]["features"]
        self.chunked = self.featured and self.old[CHUNKS]["chunk"] == self.new[CHUNKS]["chunk"]
        self.old_steps = [int(h) for h in listed(self.old[PENDING]["scored"])]
        self.new_steps = list(bank.scored)
        self.kept = self._compare_forecasters()
        self.cold = [n for n in bank.nets if n not in self.kept] if self.featured else []
        self.mixed_anew = False
        self.compares_anew = False
        self.newest = state["timetable.step"]

        self._move_series()
        self._move_rings()
        self._move_chunks()
        self._move_pending()
        self._move_intervals()
        if bank.blend:
            self._move_blend()
        if bank.comparison:
            self._move_comparison()
        if bank.anomaly:
            self._move_alerts()
        for name in bank.experts:
            if name in self.kept:
                self._move_forecaster(name)

    def _refuse_other_makes(self) -> None:
        for name, keys in ((TICKS, ("version",)), (SERIES, ("version", "layout")), (RINGS, ("version",))):
            for key in keys:
                found, expected = self.old.get(name, {}).get(key), self.new[name][key]
                if found != expected:
                    raise ValueError(
                        f"{name}: expected a state of {key} {expected}, found {found}; load it with the "
                        "version that wrote it, or start fresh"
                    )

    def _compare_forecasters(self) -> set[str]:
        """Names of those that go on, the blend among them; the notes say why others don't."""
        kept = set()
        old_names = listed(self.old[INTERVALS]["forecasters"])
        for name in self.bank.names:
            if name not in old_names:
                self.notes.append(f"{name}: new, starts cold beside the others")
            elif name == BLEND:
                kept.add(name)
            else:
                old, new = self.old[f"forecaster.{name}"], self.new[f"forecaster.{name}"]
                changed = _differences(old, new, RESHAPED)
                if changed:
                    self.notes.append(f"{name}: {changed}; starts anew, its state from the histories")
                else:
                    kept.add(name)
        self.notes += [f"{n}: no longer asked for, left out" for n in old_names if n not in self.bank.names]
        if changed := _differences(self.old[CHUNKS], self.new[CHUNKS], ("version", "features", "pool")):
            kept_back = "common steps and weights go on" if "horizon" in changed else "weights go on"
            if not self.chunked:
                kept_back += ", training waits for the first whole chunk"
            self.notes.append(f"{changed}: {kept_back}")
        return kept

    # -- shared by all -----------------------------------------------------------------------------------

    def _copy(self, prefix: str, *but: str) -> None:
        """Take over what is there on both sides in the same shape."""
        for key, fresh in self.state.items():
            old = self.old_state.get(key)
            if key.startswith(prefix) and key not in but and old is not None and old.shape == fresh.shape:
                self.state[key] = old.clone()

    def _move_series(self) -> None:
        self._copy("bank.")
        self._copy("series.")
        self._copy("timetable.")
        n, old_length = self.newest, int(self.old[RINGS]["length"])
        since = self.state["timetable.restart"]
        if old_length < self.bank.memory.ring_length:
            # forecasts from before what the ring still holds can't be scored, nor learnt from
            since = torch.maximum(since, torch.where(n >= 0, n - old_length + 1, n).clamp(min=SETTLED))
        self.state["timetable.restart"] = since

    def _move_rings(self) -> None:
        for key, fresh in self.state.items():
            if key.startswith("rings.") and (self.featured or key != "rings.features"):
                self.state[key] = to_ring(self.old_state[key], fresh, self.newest)

    def _move_chunks(self) -> None:
        """The pool and the marks of what was trained."""
        if not self.chunked:
            slots = torch.arange(len(self.newest)).numpy()
            self.state["chunks.trained"] = torch.from_numpy(
                self.bank.chunks.newest(slots, self.newest.numpy()).copy()
            )
            self.state["chunks.since"] = (self.newest + 1).clamp(min=0)
            return
        for name in ("trained", "since"):
            self.state[f"chunks.{name}"] = self.old_state[f"chunks.{name}"].clone()
        rows = min(self.old_state["chunks.pool_x"].shape[0], self.state["chunks.pool_x"].shape[0])
        for key in ("chunks.pool_x", "chunks.pool_target"):
            _overlay(self.state[key], self.old_state[key])
        filled, waited = self.old_state["chunks.counts"].tolist()
        self.state["chunks.counts"] = torch.tensor([min(filled, rows), waited])

    # -- by forecaster and scored step -------------------------------------------------------------------

    def _move_pending(self) -> None:
        """Blocks of h places for scored step h. What nobody said counts as naive, with a wide interval."""
        old, new = self.old[PENDING], self.new[PENDING]
        starts = {h: sum(self.old_steps[:k]) for k, h in enumerate(self.old_steps)}
        old_first, first = (len(listed(s["tracked"])) for s in (old, new))  # where half-widths begin
        old_said, fresh = (
            state["pending.said"].unflatten(1, (-1, first + len(listed(s["bounded"]))))
            for state, s, first in ((self.old_state, old, old_first), (self.state, new, first))
        )
        fresh[:, :, first:] = FIRST_FACTOR
        for names, old_begin, begin in (("tracked", 0, 0), ("bounded", old_first, first)):
            kept = [n for n in listed(new[names]) if n.removesuffix(" raw") in self.kept or n == "stack"]
            source, target = places(listed(old[names]), listed(new[names]), kept)
            at = 0
            for h in self.new_steps:
                if h in starts and target.numel():
                    block = old_said[:, starts[h] : starts[h] + h].index_select(2, source + old_begin)
                    if names == "bounded":
                        fresh[:, at : at + h, begin:] = block.amax(2, keepdim=True)
                    fresh[:, at : at + h, target + begin] = block
                at += h

    def _move_intervals(self) -> None:
        old_names = listed(self.old[INTERVALS]["forecasters"])
        at = places(old_names, list(self.bank.names), list(self.kept))
        if not at[1].numel():
            return
        steps = (self.old_steps, self.new_steps)
        for name in ("error", "log_factor"):
            key = f"intervals.{name}"
            self.state[key] = to_names(self.old_state[key], self.state[key], 1, at, *steps)
        key = "intervals.judged"
        self.state[key] = to_steps(self.old_state[key], self.state[key], *steps)
        if changed := _differences(self.old[INTERVALS], self.new[INTERVALS], ("scored", "forecasters")):
            self.notes.append(f"intervals: {changed}; errors go on, factors start anew")
            self.state["intervals.log_factor"].zero_()
        self._widen_newcomers(at[1])

    def _widen_newcomers(self, kept: Tensor) -> None:
        """A newcomer takes on the widest interval: its own errors come in slowly, as one of many."""
        error, factor = self.state["intervals.error"], self.state["intervals.log_factor"]
        width = error[:, kept] * torch.exp(factor[:, kept])
        widest = width.argmax(1, keepdim=True)
        for column in (error, factor):
            chosen = column[:, kept].gather(1, widest)
            for k in range(len(self.bank.names)):
                if k not in kept.tolist():
                    column[:, k] = chosen[:, 0]

    def _move_blend(self) -> None:
        old_names, new_names = listed(self.old.get(BLENDING, {}).get("experts", "")), self.bank.experts
        source, target = places(old_names, new_names, list(self.kept))
        if not target.numel():
            if old_names:
                self.notes.append(f"{BLEND}: none of its forecasters went on; starts anew")
            return
        state, old = self.state, self.old_state
        steps = (self.old_steps, self.new_steps)
        with_stack = (torch.cat([source, torch.tensor([len(old_names)])]),
                      torch.cat([target, torch.tensor([len(new_names)])]))  # fmt: skip
        losses = to_names(old["blend.losses"], state["blend.losses"], 1, with_stack, *steps)
        newcomers = [k for k in range(len(new_names)) if k not in target.tolist()]
        if newcomers:
            losses[:, newcomers] = losses[:, with_stack[1]].amax(1, keepdim=True)
        state["blend.losses"] = losses
        for name in ("variance", "judged"):
            state[f"blend.{name}"] = to_steps(old[f"blend.{name}"], state[f"blend.{name}"], *steps)
        for name in SHARED:
            self._move_stack(f"shared.{BLEND}.{name}", source, target)
        self.mixed_anew = old_names != new_names or bool(newcomers)

    def _move_stack(self, key: str, source: Tensor, target: Tensor) -> None:
        """Sums over products of what experts said: a newcomer, having said naive, brought zeros."""
        old, fresh = (t[key].movedim(0, -1) for t in (self.old_state, self.state))
        if old.dim() == 3:
            old = old.index_select(1, source)
            wide = fresh[:, : old.shape[1]].clone()
            wide = to_names(old, wide, 0, (source, target), self.old_steps, self.new_steps)
            moved = fresh.clone().index_copy_(1, target, wide)
        else:
            moved = to_names(old, fresh, 0, (source, target), self.old_steps, self.new_steps)
        self.state[key] = moved.movedim(-1, 0).contiguous()

    def _move_comparison(self) -> None:
        """Evidence is of certain forecasters at certain steps: it goes on whole, or starts anew."""
        self._copy("irregular.share")
        if self.old.get(IRREGULAR) == self.new[IRREGULAR] and self.old_steps == self.new_steps:
            self._copy("irregular.")
        if self.old.get(COMPARING) == self.new[COMPARING]:
            for key in [k for k in self.state if k.startswith("comparison.")]:
                del self.state[key]
            old = {k: v.clone() for k, v in self.old_state.items() if k.startswith("comparison.")}
            self.state.update(old)
            return
        self.compares_anew = True
        if COMPARING in self.old:
            self.notes.append("comparison: other forecasters or steps; starts anew")

    def _move_alerts(self) -> None:
        first = self.state.get("alerts.champion.at")
        if self.old.get(ALERTING) == self.new[ALERTING]:
            self._copy("alerts.")
        else:
            self.notes.append("alerts: what is rare for each series is learnt anew")
        if first is not None:
            self.state["alerts.champion.at"] = self._move_champions(first)

    def _move_champions(self, first: Tensor) -> Tensor:
        """By name; who follows one that is gone begins with the first champion, as do all where each series
        did not have its own before."""
        if FOLLOWING not in self.old:
            return first
        names = listed(self.old[FOLLOWING]["forecasters"])
        followed = self.old_state["alerts.champion.at"]
        moved = first.clone()
        for at, name in enumerate(names):
            if name in self.kept:
                moved[followed == at] = self.bank.names.index(name)
        return moved

    # -- one forecaster ----------------------------------------------------------------------------------

    def _move_forecaster(self, name: str) -> None:
        model = self.bank.models[name]
        if isinstance(model, Recurrent):
            self._move_recurrent(name, model)
            return
        prefix = f"forecaster.{name}."
        for key, fresh in self.state.items():
            if not key.startswith(prefix):
                continue
            if key == f"{prefix}gains":
                self.state[key] = to_ring(self.old_state[key], fresh, self.newest)
            elif key == f"{prefix}weights":  # the longest step first
                self.state[key] = fresh.flip(1)
                _overlay(self.state[key], self.old_state[key].flip(1))
                self.state[key] = self.state[key].flip(1)
            else:
                _overlay(fresh, self.old_state[key])
        self._copy(f"shared.{name}.")

    def _move_recurrent(self, name: str, model: Recurrent) -> None:
        prefix, shared = f"forecaster.{name}.", f"shared.{name}."
        for key, fresh in self.state.items():
            if not key.startswith(prefix):
                continue
            old = self.old_state[key]
            if key == f"{prefix}state":
                self.state[key] = old.clone()
            elif key == f"{prefix}states":
                self.state[key] = self._move_chunk_ends(old, fresh, name)
            elif key.startswith(f"{prefix}nearest_"):  # of the first step, which every horizon has
                self.state[key] = old.clone()
            else:  # the gate's sums
                self.state[key] = to_steps(old, fresh, self.old_steps, self.new_steps)
        self._copy(shared, f"{shared}pool_state")
        if self.chunked:
            _overlay(self.state[f"{shared}pool_state"], self.old_state[f"{shared}pool_state"])
        old_horizon = int(self.old[f"forecaster.{name}"]["horizon"])
        if old_horizon != model.network.horizon:
            for key in ("weights", "adam.first", "adam.second"):
                fresh = self.state[shared + key]
                _move_head(self.old_state[shared + key], fresh, model.network.shapes, old_horizon)

    def _move_chunk_ends(self, old: Tensor, fresh: Tensor, name: str) -> Tensor:
        """States that chunks began with. Where chunks are cut elsewhere the first begins with the newest."""
        if not self.chunked:
            state = self.old_state[f"forecaster.{name}.state"].to(fresh.dtype)
            return state[:, None].expand_as(fresh).clone()
        stagger = torch.from_numpy(self.bank.chunks.offset[: len(self.newest)])
        number = torch.where(self.newest >= 0, (self.newest + 1 + stagger) // self.bank.chunks.chunk, -1)
        return to_ring(old, fresh, number)


def _differences(old: Mapping[str, str], new: Mapping[str, str], but: Sequence[str]) -> str:
    """`hidden 32 → 64, layers 1 → 2`; empty where nothing but the keys of `but` differs."""
    keys = [k for k in (*new, *(k for k in old if k not in new)) if k not in but and old.get(k) != new.get(k)]
    return ", ".join(f"{k} {old.get(k, 'none')} → {new.get(k, 'none')}" for k in keys)


def _overlay(fresh: Tensor, old: Tensor) -> None:
    """Put what both have room for into `fresh`, from the start of every dimension."""
    common = tuple(slice(0, min(a, b)) for a, b in zip(fresh.shape, old.shape, strict=True))
    fresh[common] = old[common]


def _move_head(old: Tensor, fresh: Tensor, shapes: Mapping[str, tuple[int, ...]], old_horizon: int) -> None:
    """A flat vector of parameters: layers as they are, columns of the head for the steps that both have."""
    source = target = 0
    for name, shape in shapes.items():
        old_shape = shape if "." in name else (*shape[:-1], old_horizon)
        size, old_size = torch.Size(shape).numel(), torch.Size(old_shape).numel()
        part = fresh[target : target + size].view(shape)
        _overlay(part, old[source : source + old_size].view(old_shape))
        source, target = source + old_size, target + size
