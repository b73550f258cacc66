"""Hostile messages through every decoder: nothing fails, nothing stalls, every message is accounted for."""

from __future__ import annotations

import pytest

from pipeline.codec import CodecOptions, build_codec
from pipeline.codec.options import FORMATS
from tests.unit.codec.batches import build_messages, check_account, list_outcomes
from tests.unit.codec.corpus import CORPUS, Hostile

# The whole corpus takes seconds; a decoder that backtracks or recurses takes for ever.
STALLED_S = 120


def test_corpus_is_large_and_named() -> None:
    assert len(CORPUS) >= 200
    assert len({hostile.name for hostile in CORPUS}) == len(CORPUS)


@pytest.mark.timeout(STALLED_S)
@pytest.mark.parametrize("hostile", CORPUS, ids=lambda hostile: hostile.name)
def test_outcome(hostile: Hostile) -> None:
    messages = build_messages([hostile.payload], hostile.key, hostile.clock_ms)
    decoded = build_codec(CodecOptions(format=hostile.format)).decode(messages)
    check_account(decoded, messages)
    (outcomes,) = list_outcomes(decoded, 1)
    assert ("tombstone",) * decoded.tombstones + outcomes == hostile.outcomes


@pytest.mark.timeout(STALLED_S)
@pytest.mark.parametrize("format", FORMATS)
def test_all_in_one_batch(format: str) -> None:
    """Through each decoder; what a message gives alone, it gives among all others."""
    messages = build_messages(
        [hostile.payload for hostile in CORPUS],
        [hostile.key for hostile in CORPUS],
        [hostile.clock_ms for hostile in CORPUS],
    )
    options = CodecOptions(format=format)
    together = build_codec(options).decode(messages)
    check_account(together, messages)

    codec = build_codec(options)
    alone = []
    for hostile in CORPUS:
        message = build_messages([hostile.payload], hostile.key, hostile.clock_ms)
        alone += list_outcomes(codec.decode(message), 1)
    assert list_outcomes(together, len(CORPUS)) == alone
