"""Online forecasters of many series: arrays in, arrays out. `build` makes a bank of them."""

from forecasters.bank import LARGEST_VALUE, Bank, Result, build
from forecasters.registry import NAMES

__all__ = ["LARGEST_VALUE", "NAMES", "Bank", "Result", "build"]
