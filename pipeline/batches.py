"""Messages cut and put together, and what was rejected of them put together again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from pipeline.records import Messages, Rejected


def split(messages: Messages, size: int) -> tuple[Messages, Messages]:
    """The first `size` messages, and the others."""
    first, others = (
        Messages(
            topic=messages.topic,
            partition=messages.partition,
            offset=messages.offset[part],
            timestamp_ms=messages.timestamp_ms[part],
            key=messages.key[part],
            value=messages.value[part],
            headers=messages.headers[part],
        )
        for part in (slice(0, size), slice(size, None))
    )
    return first, others


def join(parts: Sequence[Messages]) -> Messages:
    """Those of one partition that follow each other, as one batch; at least one part."""
    if len(parts) == 1:
        return parts[0]
    chained = itertools.chain.from_iterable
    return Messages(
        topic=parts[0].topic,
        partition=parts[0].partition,
        offset=np.concatenate([part.offset for part in parts]),
        timestamp_ms=np.concatenate([part.timestamp_ms for part in parts]),
        key=list(chained(part.key for part in parts)),
        value=list(chained(part.value for part in parts)),
        headers=list(chained(part.headers for part in parts)),
    )


def join_by_message(rejected: Sequence[Rejected]) -> list[Rejected]:
    """One for each message: what could not be decoded of it, and what could not be placed."""
    joined: dict[int, Rejected] = {}
    for each in rejected:
        if (other := joined.get(each.message)) is not None:
            each = Rejected(
                message=each.message,
                reasons=(*other.reasons, *each.reasons),
                indices=(*other.indices, *each.indices),
            )
        joined[each.message] = each
    return [joined[message] for message in sorted(joined)]
