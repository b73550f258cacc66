"""Online forecasters of many series: arrays in, arrays out. `build` makes a bank of them."""

from forecasters.bank import Bank, Result, build
from forecasters.registry import NAMES

__all__ = ["NAMES", "Bank", "Result", "build"]
