"""Where a device is the host itself, and what differs elsewhere.

On a CPU a call costs little and memory much: state is read and written where it lies, and what no row needs
is left out. On a GPU it is the other way round, and to look at a number is to wait for it: there every wave
has the same shapes and takes the same calls, so that they can be recorded once (`programs`).
"""

from __future__ import annotations

from functools import cache

import torch


@cache  # asked some ten times a wave, and each time the name of the device would be made anew
def is_host(device: torch.device) -> bool:
    return device.type == "cpu"
