"""What the observer is told of a shard now and then: training, who leads, who is shown, gradient reach.

On the runner's thread, because it reads what waves change; so each call does one shard's part and no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from forecasters import Result
from pipeline.engine.observer import Observer
from pipeline.engine.shard import Shard
from pipeline.ports import Partition
from pipeline.showcase import Showcase

CHOOSE_S = 5.0
"""Between two choices of the shown series."""
EVIDENCE_S = 15.0
"""As often as metrics are scraped; a summary takes some milliseconds."""
REACH_S = 300.0
WINS = 10
"""Series won by most, and lost by most."""
REACH_SERIES = 32
"""Their median is what is told. Of one forecaster at a time: autograd over a stretch takes some 20 ms."""


class Teller:
    """Keeps what was told last of each shard. Not thread-safe."""

    def __init__(
        self,
        observer: Observer,
        showcase: Showcase,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: monotonic seconds."""
        self._observer, self._showcase, self._clock = observer, showcase, clock
        self._trained: dict[tuple[Partition, str], Mapping[str, float]] = {}
        self._thinned: dict[Partition, int] = {}
        self._spent: dict[Partition, Mapping[str, float]] = {}
        self._due_s: dict[tuple[Partition, str], float] = {}

    def tell(self, partition: Partition, shard: Shard[Result]) -> None:
        """Whatever is due of this shard."""
        self._tell_cost(partition, shard)
        nets = self._tell_training(partition, shard)
        if self._is_due(partition, "choose", CHOOSE_S):
            self._observer.on_shown_series(*partition, self._showcase.choose(partition, shard))
        if self._is_due(partition, "evidence", EVIDENCE_S):
            self._tell_champions(partition, shard)
            evidence = shard.bank.evidence()
            if evidence is not None:
                self._observer.on_evidence(*partition, evidence)
                self._tell_wins(partition, shard, nets)
        for name in nets:
            if self._is_due(partition, name, REACH_S):
                if not self._tell_reach(partition, shard, name):
                    self._due_s[partition, name] = self._clock() + EVIDENCE_S
                break  # the next one at the next call

    def forget(self, partition: Partition) -> None:
        """The shard is another worker's."""
        self._trained = {key: told for key, told in self._trained.items() if key[0] != partition}
        self._spent.pop(partition, None)
        self._thinned.pop(partition, None)
        self._due_s = {key: due for key, due in self._due_s.items() if key[0] != partition}

    def _is_due(self, partition: Partition, what: str, interval_s: float) -> bool:
        now_s = self._clock()
        if now_s < self._due_s.get((partition, what), float("-inf")):
            return False
        self._due_s[partition, what] = now_s + interval_s
        return True

    def _tell_training(self, partition: Partition, shard: Shard[Result]) -> Sequence[str]:
        """Also says which forecasters train."""
        thinned = shard.bank.thinned
        # below 0 where a series went that still waited
        self._observer.on_thinned(max(thinned - self._thinned.get(partition, thinned), 0))
        self._thinned[partition] = thinned
        told = shard.bank.training()
        for name, now in told.items():
            key = (partition, name)
            before = self._trained.get(key, now)
            self._trained[key] = now
            steps = {k: int(now[k] - before[k]) for k in ("applied", "clipped", "skipped")}
            if any(steps.values()):
                norms = np.array([now["norm"]] if steps["applied"] or steps["clipped"] else [])
                self._observer.on_training(name, loss=now["loss"], norms=norms, **steps)
        return tuple(told)

    def _tell_cost(self, partition: Partition, shard: Shard[Result]) -> None:
        now = {name: shard.bank.seconds(name) for name in shard.bank.names}
        before = self._spent.get(partition, now)
        self._spent[partition] = now
        self._observer.on_cost({name: now[name] - before[name] for name in now})

    def _tell_champions(self, partition: Partition, shard: Shard[Result]) -> None:
        champion = shard.bank.champion
        if champion is not None and champion.at is None:
            slots = np.array([slot for slot in shard.list_slots().values() if slot >= 0], np.int64)
            self._observer.on_champions(*partition, champion.count(slots))

    def _tell_wins(self, partition: Partition, shard: Shard[Result], nets: Sequence[str]) -> None:
        """Of the recurrent forecasters among themselves: which series to look at."""
        slots = shard.list_slots()
        names = {slot: series for series, slot in slots.items() if slot >= 0}
        for pair in shard.bank.pairs:
            if set(pair) <= set(nets):
                share = shard.bank.series_differences(pair)
                order = np.argsort(share, kind="stable")[: int(np.isfinite(share).sum())]  # NaN comes last
                ends = dict.fromkeys([*order[:WINS].tolist(), *order[-WINS:].tolist()])
                found = {names[slot]: float(share[slot]) for slot in ends if slot in names}
                self._observer.on_wins(*partition, pair, found)

    def _tell_reach(self, partition: Partition, shard: Shard[Result], name: str) -> bool:
        """Whether a series has enough history for it."""
        slots = np.array([slot for slot in shard.list_slots().values() if slot >= 0], np.int64)
        if not slots.size:
            return False
        spread = np.unique(np.linspace(0, slots.size - 1, REACH_SERIES).astype(np.int64))
        try:
            reach = shard.bank.reach(name, slots[spread])
        except ValueError:
            return False
        self._observer.on_reach(*partition, name, reach.inputs.double().numpy(), reach.memory_length)
        return True
