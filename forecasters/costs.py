"""What recurrent forecasters cost in operations: counted from what was asked of them, whatever the machine.

A multiplication with its addition counts as two. A backward pass is two products for each one of the forward
pass, by the inputs and by the weights, so a step that is learnt costs three forward ones. Activations,
optimizer and padding to whole tiles are left out: they don't grow with width squared.
"""

from __future__ import annotations

from forecasters.chunks import Plan
from forecasters.network import Network

LEARNING = 3


class Work:
    """Steps of all series together since the start of the process; not part of the state."""

    def __init__(self) -> None:
        self.steps = 0
        """Cell steps taken to follow the readings."""
        self.forecasts = 0
        """Of these, steps after which the head was asked."""
        self.learnt = 0
        """Steps in chunks that were trained: of each reading, in part and whole, and those replayed."""

    def forecast(self, steps: int, *, shown: bool = True) -> None:
        self.steps += steps
        self.forecasts += steps if shown else 0

    def learn(self, plan: Plan, chunk: int) -> None:
        """chunk: steps of each."""
        self.learnt += plan.num_chunks * chunk

    def flops(self, network: Network) -> float:
        cell = sum(layer.flops for layer in network.layers)
        head = network.flops - cell
        return float(self.steps * cell + self.forecasts * head + self.learnt * LEARNING * network.flops)
