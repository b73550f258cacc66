"""Online forecasters of many series: arrays in, arrays out. `build` makes a bank of them."""

from forecasters.bank import Bank
from forecasters.checks import LARGEST_VALUE
from forecasters.factory import build
from forecasters.registry import NAMES
from forecasters.result import Result

__all__ = ["LARGEST_VALUE", "NAMES", "Bank", "Result", "build"]
