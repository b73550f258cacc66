"""What an Arrow IPC message says of itself, read before its body is touched.

Arrow unpacks compressed buffers as it reads a batch, so that a message of kilobytes could ask for gigabytes.
Its Python interface tells neither whether a batch is compressed nor how many rows it has, hence this walk
through the flatbuffer; the tables are those of Arrow's format/Message.fbs.
"""

from __future__ import annotations

import struct

_HEADER = 2  # in Message
_DATA = 1  # in DictionaryBatch
_LENGTH, _COMPRESSION = 0, 3  # in RecordBatch


def read_batch_facts(metadata: bytes, *, is_dictionary: bool) -> tuple[int, bool]:
    """The number of rows of a record or dictionary batch, and whether it is compressed.

    Raises ValueError if the metadata is damaged.
    """
    try:
        table = _follow(metadata, _find_field(metadata, _follow(metadata, 0), _HEADER))
        if is_dictionary:
            table = _follow(metadata, _find_field(metadata, table, _DATA))
        length = _find_field(metadata, table, _LENGTH)
        rows = struct.unpack_from("<q", metadata, length)[0] if length else 0
        return int(rows), _find_field(metadata, table, _COMPRESSION) != 0
    except struct.error as error:
        raise ValueError(
            f"expected the metadata of an Arrow batch, but they are damaged ({error})"
        ) from error


def _follow(buffer: bytes, at: int) -> int:
    """The position that the offset at `at` points to."""
    return at + int(struct.unpack_from("<I", buffer, at)[0])


def _find_field(buffer: bytes, table: int, field: int) -> int:
    """The position of a field of a table, or 0 if the table leaves it out."""
    vtable = table - int(struct.unpack_from("<i", buffer, table)[0])
    if vtable < 0:
        raise struct.error("a vtable before the start")
    size = struct.unpack_from("<H", buffer, vtable)[0]
    at = 4 + 2 * field
    if at + 2 > size:
        return 0
    offset = int(struct.unpack_from("<H", buffer, vtable + at)[0])
    return table + offset if offset else 0
