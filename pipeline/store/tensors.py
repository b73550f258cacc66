"""Tensors as the bytes of a safetensors file, piece by piece, without a copy of the whole.

The library's own writer wants the whole file in memory twice, which at 10 000 series is more than the state
of the shard itself. Files are read by the library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import torch

DTYPES = {
    torch.float64: "F64", torch.int64: "I64", torch.float32: "F32", torch.int32: "I32",
    torch.float16: "F16", torch.bfloat16: "BF16", torch.int16: "I16", torch.uint8: "U8", torch.int8: "I8",
    torch.bool: "BOOL",
}  # fmt: skip


def serialise(state: Mapping[str, torch.Tensor]) -> Iterator[bytes | memoryview]:
    """The pieces of the file: the header, then each tensor's memory. Tensors must stay as they are meanwhile.

    Raises ValueError for a dtype that the format lacks.
    """
    # widest first, as the library does: then every tensor lies at a multiple of its item's size
    names = sorted(state, key=lambda name: (-state[name].element_size(), name))
    header: dict[str, object] = {}
    end = 0
    for name in names:
        tensor = state[name]
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{name}: expected a dtype that safetensors has, got {tensor.dtype}")
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        flat = state[name].detach().cpu().contiguous().reshape(-1)
        if flat.numel() and flat.stride(0) != 1:  # of one element, which is contiguous whatever its stride
            flat = flat.clone(memory_format=torch.contiguous_format)
        if flat.numel():
            yield flat.view(torch.uint8).numpy().data
