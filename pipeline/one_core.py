"""How a process that forecasts uses its machine: one core, and memory that stays."""

from __future__ import annotations

import torch

from pipeline.heap import keep


def use_one_core() -> None:
    """For the whole process. With more threads, operations on a wave's few thousand numbers wait for each
    other; and results are reproducible bit for bit for one number of threads."""
    torch.set_num_threads(1)
    keep()
