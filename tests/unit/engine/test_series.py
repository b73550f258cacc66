from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.engine.columns import Columns
from pipeline.engine.series import SeriesTable
from pipeline.engine.settings import SeriesSettings


def make_table(names: str) -> SeriesTable:
    table = SeriesTable()
    for name in names:
        table.add(name, SeriesSettings(minimum=float(ord(name))))
    return table


def test_places_of_forgotten_series_are_taken_lowest_first_and_fresh() -> None:
    table = make_table("abcd")
    table.columns["slot"][:] = 7
    table.forget([2, 0])
    assert (len(table), table.size, table.ids, table.places.tolist()) == (2, 4, ("b", "d"), [1, 3])
    assert (table.find("a"), table.find("b")) == (-1, 1)
    assert [table.add(name, SeriesSettings()) for name in "xyz"] == [0, 2, 4]
    assert table.columns["slot"].tolist() == [-1, 7, -1, 7, -1]
    assert table.columns["minimum"].tolist() == [-np.inf, ord("b"), -np.inf, ord("d"), -np.inf]


def test_free_places_survive_saving() -> None:
    table, other = make_table("abcd"), SeriesTable()
    table.forget([2, 0])
    other.load("t", dict(table.save("t")))
    assert other.ids == ("b", "d")
    assert [other.add(name, SeriesSettings()) for name in "xyz"] == [0, 2, 4]


def test_names_are_those_of_now() -> None:
    table, places = make_table("abcd"), np.array([3, 1])
    names = table.names(places)
    assert names == ["d", "b"]
    assert table.names(places.copy()) is names, "a round of the same series"
    assert table.names(np.array([1, 3])) == ["b", "d"]
    assert table.names(places) == names
    table.forget([1])
    table.add("new", SeriesSettings())
    assert table.names(places) == ["d", "new"]
    assert names == ["d", "b"], "who has the list of before may go on with it"
    other = make_table("wxyz")
    other.names(places)
    other.load("t", dict(table.save("t")))
    assert other.names(places) == ["d", "new"]


def test_a_table_with_fewer_places_than_ids_is_refused() -> None:
    state = dict(make_table("abcd").save("t")) | {
        name: tensor for name, tensor in make_table("abc").save("t") if name != "t.ids"
    }
    with pytest.raises(ValueError, match="t: expected a place for each of 4 ids, found 3"):
        SeriesTable().load("t", state)


def test_columns_keep_their_values_while_they_grow() -> None:
    columns = Columns({"a": 1, "b": 0.5})
    columns.extend(2)
    columns["a"][:] = [5, 6]
    columns.extend(1000)
    columns.extend(3)
    assert columns.size == 1000
    assert columns["a"][:4].tolist() == [5, 6, 1, 1]
    assert columns["b"].dtype == np.float64


def test_columns_of_another_kind_or_length_are_refused() -> None:
    columns = Columns({"a": 1, "b": 0.5})
    whole = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"t\.b: expected one column of float64, found int64 \(3,\)"):
        columns.load("t", {"t.a": whole, "t.b": whole})
    with pytest.raises(ValueError, match=r"t: expected columns of one length, found \[2, 3\]"):
        columns.load("t", {"t.a": whole, "t.b": torch.zeros(2, dtype=torch.float64)})


def test_what_is_saved_shares_no_memory() -> None:
    columns = Columns({"a": 1})
    columns.extend(2)
    saved = dict(columns.save("t"))
    columns["a"][:] = 9
    assert saved["t.a"].tolist() == [1, 1]
    columns.load("t", saved)
    columns["a"][:] = 8
    assert saved["t.a"].tolist() == [1, 1]
