"""Columns of state: what is taken is what was put, by whichever rows and names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forecasters.fields import Field, Fields
from forecasters.rows import TILE, Rows

CPU = torch.device("cpu")
CAPACITY = 8 * TILE
SPEC = {
    "level": Field(),
    "averages": Field((3,), initial=1.0),
    "factor": Field((2, 2)),
    "weights": Field((4, 5), ring=True),
    "gains": Field((4, 3), torch.float16, ring=True),
}


@pytest.fixture
def fields() -> Fields:
    made = Fields(SPEC, CPU)
    made.grow(CAPACITY)
    return made


def rows_of(*slots: int) -> Rows:
    return Rows(np.array(slots, np.int64), CAPACITY, CAPACITY, CPU)


SCATTERED, NEIGHBOURS = (3, 9, 300), (3, 4, 5)


def test_what_was_put_is_taken_by_the_same_rows_and_by_others(fields):
    rows = rows_of(*SCATTERED)
    block = fields.take(rows)
    numbers = torch.tensor([1.0, 2.0, 3.0])
    block["level"][:3] = numbers
    block["factor"][1, 0, :3] = numbers
    fields.put(rows, block)
    for taken in (lambda r: fields.take(r)["level"], lambda r: fields.take(r)["factor"][1, 0]):
        assert taken(rows)[:3].tolist() == [1.0, 2.0, 3.0]
        assert taken(rows_of(300, 2, 9))[:3].tolist() == [3.0, 0.0, 2.0]


@pytest.mark.parametrize("others", [(9, 2, 300), tuple(range(TILE))], ids=["gathered", "in place"])
def test_what_others_put_is_seen(fields, others):
    rows = rows_of(*SCATTERED)
    fields.take(rows)
    own = rows_of(*others)
    block = fields.take(own)
    block["level"].fill_(7.0)
    fields.put(own, block)
    expected = [7.0 if slot in others else 0.0 for slot in SCATTERED]
    assert fields.take(rows)["level"][:3].tolist() == expected


def change_whole(fields: Fields) -> None:
    fields["averages"][9] = 5.0


def change_by_reset(fields: Fields) -> None:
    fields.data["averages"][9] = 5.0
    fields.reset(torch.tensor([300]))


def change_by_load(fields: Fields) -> None:
    state = dict(fields.save("own", CAPACITY))
    state["own.averages"][9] = 5.0
    fields.load("own", state, CAPACITY)


def change_by_growth(fields: Fields) -> None:
    fields.data["averages"][9] = 5.0
    fields.grow(2 * CAPACITY)


@pytest.mark.parametrize("change", [change_whole, change_by_reset, change_by_load, change_by_growth])
def test_no_change_is_missed_by_rows_that_had_taken_before(fields, change):
    rows = rows_of(*SCATTERED)
    fields.take(rows)
    change(fields)
    assert fields.take(rows)["averages"][:, 1].tolist() == [5.0] * 3


@pytest.mark.parametrize("slots", [SCATTERED, tuple(range(TILE))], ids=["gathered", "in place"])
def test_some_fields_are_put_and_the_rest_stays(fields, slots):
    rows = rows_of(*slots)
    block = fields.take(rows)
    block["averages"].fill_(2.0)
    block["factor"].fill_(3.0)
    fields.put(rows, block, ("averages", "factor"))
    again = fields.take(rows_of(*slots[:2]))
    assert again["averages"][:, :2].eq(2.0).all()
    assert again["factor"][..., :2].eq(3.0).all()
    assert again["level"][:2].eq(0.0).all()
    assert fields["averages"][CAPACITY - 1].eq(1.0).all(), "of no one else"


@pytest.mark.parametrize("name", ["weights", "gains"])
@pytest.mark.parametrize("slots", [SCATTERED, NEIGHBOURS, tuple(range(TILE))])
def test_rings_are_read_as_they_were_written(fields, name, slots):
    rows = rows_of(*slots)
    some = slice(1, 3)
    read = fields.read_ring(name, rows, some)
    assert read.dtype == SPEC[name].dtype
    assert read.shape == (4, 2, SPEC[name].room[-1])
    new = torch.arange(read.numel()).view(read.shape).to(read.dtype)
    read.copy_(new)
    fields.write_ring(name, rows, read, some)
    whole = fields.read_ring(name, rows)
    assert torch.equal(whole[:, some], new)
    assert whole[:, 0].eq(0.0).all()
    by_slot = fields[name][list(slots[1:3])]
    assert torch.equal(by_slot.transpose(0, 1), new)
