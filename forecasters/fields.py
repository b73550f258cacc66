"""Per-series state in columns: named fields of every slot, read and written for a wave at once.

Letters: S slots, P places (S and a tile more), R rows of a wave (padded to whole tiles), W floats of a slab.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from forecasters.host import is_host
from forecasters.rows import TILE, Rows

Tensor = torch.Tensor


WORD = 8


def fill_up(num: int, dtype: torch.dtype) -> int:
    """So many numbers, and as many more as make whole words of them."""
    each = WORD // _size(dtype)
    return num + -num % each


@dataclass(frozen=True, slots=True)
class Field:
    """One named per-series quantity: trailing `shape`, `dtype`, and the `initial` value of a fresh slot.

    `apart`: kept in a tensor of its own, series first, for what is read as whole rows. `ring`: `[L, N]` or
    `[L]`, of which some rows are read and written at a time, by `take_ring` and `put_ring`. In memory the
    same row of all series lies side by side, so that a wave of series in step runs through it; and each is
    filled up to whole words of WORD bytes, which are copied several times as fast as so many small numbers.
    """

    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    initial: float = 0.0
    apart: bool = False
    ring: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.room)

    @property
    def room(self) -> tuple[int, ...]:
        """The shape in memory."""
        if not self.ring or len(self.shape) == 1:
            return self.shape
        return (*self.shape[:-1], fill_up(self.shape[-1], self.dtype))

    @property
    def packed(self) -> bool:
        return self.dtype == torch.float32 and not (self.apart or self.ring)


@dataclass(frozen=True, slots=True)
class Block:
    """The packed fields of the rows of a wave: `[*shape, R]` by name, each a view of `whole` `[W, R]`.

    To be changed in place; whether that changes the state at once or with `Fields.put` is no promise.
    """

    whole: Tensor
    columns: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.columns[name]


@dataclass(frozen=True, slots=True)
class Places:
    """K rows of the ring of each of R series.

    `index` [K, R] picks each, see `Fields.stride`. Where all stand at the same rows of their rings, and lie
    side by side, as series do that are read in step, `pieces` has those rows [K] and the span of the series
    instead: a ring is then read and written in K large pieces. What a series gets is the same either way.
    """

    index: Tensor | None = None
    pieces: tuple[list[int], slice] | None = None

    def part(self, places: slice, rows: slice) -> Places:
        """Some of the K rows of the rings of some of the R series; both slices have their ends."""
        if self.pieces:
            positions, span = self.pieces
            return Places(pieces=(positions[places], slice(span.start + rows.start, span.start + rows.stop)))
        assert self.index is not None
        return Places(self.index[places, rows])


@dataclass(slots=True)
class Fields:
    """Growable tensors by name. The rows from S on belong to no series: padding reads and writes them.

    All float32 fields that are neither `apart` nor a `ring` are rows of one slab `[W, P]`, so that an
    operation on one number of each series runs over memory that lies side by side, and a wave gathers them in
    one go, or none.
    """

    spec: Mapping[str, Field]
    device: torch.device
    capacity: int = 0
    data: dict[str, Tensor] = field(default_factory=dict)
    _slab: Tensor = field(default_factory=lambda: torch.zeros(0, 1))
    _places: dict[str, slice] = field(default_factory=dict)  # of packed fields among the W rows of the slab
    _last: tuple[slice, Block] | None = None  # views of the slab, made once for waves that repeat
    _gathered: tuple[Rows, Block] | None = None  # of a wave that has no span, for who asks next
    _seen_as_words: dict[str, Tensor] = field(default_factory=dict)
    _seen_as_items: dict[str, npt.NDArray[np.void]] = field(default_factory=dict)
    _spans: dict[str, tuple[slice, Tensor]] = field(default_factory=dict)  # likewise of rings

    def __post_init__(self) -> None:
        sizes = {name: f.size for name, f in self.spec.items() if f.packed}
        ends = itertools.accumulate(sizes.values())
        self._places = {
            name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)
        }
        self._bind(self._fresh_slab(TILE))
        for name, f in self.spec.items():
            if not f.packed:
                self.data[name] = self._fresh(f, TILE)

    def _fresh(self, f: Field, rows: int) -> Tensor:
        shape = (f.room[0], rows, *f.room[1:]) if f.ring else (rows, *f.room)
        fresh = torch.full(shape, f.initial, dtype=f.dtype, device=self.device)
        return fresh.transpose(0, 1) if f.ring else fresh

    def _fresh_slab(self, rows: int) -> Tensor:
        parts = [self._fresh(self.spec[name], rows).view(rows, -1).t() for name in self._places]
        return torch.cat(parts).contiguous() if parts else torch.zeros(0, rows, device=self.device)

    def _bind(self, slab: Tensor) -> None:
        """`data` of the packed fields: views `[P, *shape]` of the slab."""
        self._slab = slab
        self._last = self._gathered = None
        for name, column in self._columns(slab).items():
            self.data[name] = column.movedim(-1, 0)

    def _columns(self, slab: Tensor) -> dict[str, Tensor]:
        views = {}
        for name, at in self._places.items():
            shape = self.spec[name].shape
            views[name] = slab[at].unflatten(0, shape) if shape else slab[at.start]
        return views

    def grow(self, capacity: int) -> None:
        """Room for `capacity` slots; the rows that exist keep their values."""
        slab = self._fresh_slab(capacity + TILE)
        slab[:, : self.capacity] = self._slab[:, : self.capacity]
        self._bind(slab)
        for name, f in self.spec.items():
            if not f.packed:
                grown = self._fresh(f, capacity + TILE)
                grown[: self.capacity] = self.data[name][: self.capacity]
                self.data[name] = grown
        self._seen_as_words.clear()
        self._seen_as_items.clear()
        self._spans.clear()
        self.capacity = capacity

    def reset(self, rows: Tensor) -> None:
        """Put the slots `rows` back to their initial values."""
        self._gathered = None
        for name, f in self.spec.items():
            self.data[name][rows] = f.initial

    def take(self, rows: Rows) -> Block:
        """The packed fields of `rows`, to be changed in place and given back to `put`."""
        if rows.span is None:
            if self._gathered is None or self._gathered[0] is not rows:
                whole = self._slab.index_select(1, rows.index)
                block = Block(whole, self._columns(whole))
                if not is_host(self.device):  # a recorded program has to read what is there when it runs
                    return block
                self._gathered = rows, block
            return self._gathered[1]
        if self._last is None or self._last[0] != rows.span:
            whole = self._slab[:, rows.span]
            self._last = rows.span, Block(whole, self._columns(whole))
        return self._last[1]

    def put(self, rows: Rows, block: Block, some: Sequence[str] = ()) -> None:
        """Write back what `take` gave. some: fields side by side in `spec`, if no others changed."""
        if rows.span is None:
            here = slice(None)
            if some:
                here = slice(self._places[some[0]].start, self._places[some[-1]].stop)
            self._slab[here].index_copy_(1, rows.index, block.whole[here])
        if self._gathered is not None and self._gathered[0] is not rows:
            self._gathered = None

    def read(self, name: str, rows: Rows, some: slice = slice(None)) -> Tensor:
        """One field that is `apart`, `[R, *shape]`, or some of its rows; to be left as it is, or changed in
        place and given back to `write`."""
        data = self.data[name]
        return data.index_select(0, rows.index[some]) if rows.span is None else data[rows.span][some]

    def write(self, name: str, rows: Rows, values: Tensor, some: slice = slice(None)) -> None:
        """Write back what `read` gave."""
        if rows.span is None:
            self.data[name].index_copy_(0, rows.index[some], values)

    @property
    def stride(self) -> int:
        """Row k of a slot's ring has the place k · stride + slot among the rows of all."""
        return self.capacity + TILE

    def rows(self, name: str) -> Tensor:
        """All rows of a `ring` by place, filled up: `[L · P, room]`, or `[L · P]`."""
        return self.data[name].transpose(0, 1).flatten(0, 1)

    def take_rows(self, name: str, places: Tensor) -> Tensor:
        """Of a `ring`, the rows at these places `[R]`, filled up: `[R, room]`."""
        return self._words(name).index_select(0, places).view(self.spec[name].dtype)

    def put_rows(self, name: str, places: Tensor, rows: Tensor) -> None:
        """Write such rows `[R, room]`, whole in memory."""
        words = self._words(name)
        words.index_copy_(0, places, rows.view(-1).view(torch.int64).view(-1, words.shape[1]))

    def places(self, rows: Rows, positions_KN: npt.NDArray[np.int64]) -> Places:
        """These rows of the rings of the series."""
        block = np.zeros((len(positions_KN), rows.padded), np.int64)
        block[:, : rows.num] = positions_KN
        return self.find(rows, torch.from_numpy(block).to(self.device, non_blocking=True))

    def find(self, rows: Rows, positions_KR: Tensor) -> Places:
        """Likewise, of positions on the device, which are used up."""
        return Places(positions_KR.mul_(self.stride).add_(rows.index))

    def take_ring(self, name: str, at: Places, dtype: torch.dtype | None = None) -> Tensor:
        """Rows of a `ring`, filled up: `[K, R, room]`, or `[K, R]`; a copy, of `dtype` where one is given."""
        if at.pieces:
            positions, span = at.pieces
            ring = self._span(name, span)
            if dtype is not None:
                return _convert(ring, positions, dtype)
            if len(positions) == 1:
                return ring[positions[0]].clone()[None]
            return ring.index_select(0, self._send(positions))
        assert at.index is not None
        rows = self.take_rows(name, at.index.reshape(-1)).view(*at.index.shape, *self.spec[name].room[1:])
        return rows if dtype is None else rows.to(dtype)

    def read_ring(self, name: str, rows: Rows, some: slice = slice(None)) -> Tensor:
        """The rings of these series, or of some of them, as they lie, `[L, R, room]`; to be left as it is, or
        changed in place and given back to `write_ring`."""
        if rows.span is not None:
            return self._span(name, rows.span)[:, some]
        index = rows.index[some]
        if is_host(index.device):
            taken = self._items(name).take(index.numpy(), axis=1)[..., None]
            return torch.from_numpy(taken.view(self.data[name].numpy().dtype))
        return self.data[name].transpose(0, 1).index_select(1, index)

    def write_ring(self, name: str, rows: Rows, values: Tensor, some: slice = slice(None)) -> None:
        """Write back what `read_ring` gave."""
        if rows.span is None:
            index = rows.index[some]
            if is_host(index.device):  # in half of the time of `index_copy_`
                items = self._items(name)
                items[:, index.numpy()] = values.numpy().view(items.dtype)[..., 0]
            else:
                self.data[name].transpose(0, 1).index_copy_(1, index, values)

    def put_ring(self, name: str, at: Places, rows: Tensor) -> None:
        """Write such rows `[K, R, N]`, filled up or not, or `[K, R]`."""
        width, is_flat = rows.shape[-1], rows.dim() == 2
        if at.pieces:
            positions, span = at.pieces
            ring = self._span(name, span)
            if is_flat and len(positions) > 1:
                if is_host(ring.device):  # in a tenth of the time of `index_copy_`
                    ring.numpy()[positions] = rows.numpy()
                else:
                    ring.index_copy_(0, self._send(positions), rows)
                return
            if not is_flat:
                ring = ring[..., :width]
            for piece, position in zip(rows, positions, strict=True):
                ring[position].copy_(piece)
            return
        assert at.index is not None
        if is_flat:
            self.rows(name).index_copy_(0, at.index.reshape(-1), rows.reshape(-1))
        elif width == self.spec[name].room[-1]:
            self.put_rows(name, at.index.reshape(-1), rows.contiguous())
        else:
            self.rows(name)[:, :width].index_copy_(0, at.index.reshape(-1), rows.flatten(0, 1))

    def _send(self, positions: list[int]) -> Tensor:
        # straight from the list `torch.tensor` takes five times as long
        return torch.from_numpy(np.array(positions)).to(self.device, non_blocking=True)

    def _span(self, name: str, span: slice) -> Tensor:
        """`[L, R, room]`, the rings of these series by row."""
        found = self._spans.get(name)
        if found is None or found[0] != span:
            found = self._spans[name] = span, self.data[name].transpose(0, 1)[:, span]
        return found[1]

    def _items(self, name: str) -> npt.NDArray[np.void]:
        """`[L, P]` on the host, each row as one item: so NumPy copies them in half of torch's time."""
        found = self._seen_as_items.get(name)
        if found is None:
            ring = self.data[name].transpose(0, 1).numpy()
            found = self._seen_as_items[name] = ring.view(f"V{ring[0, 0].nbytes}")[..., 0]
        return found

    def _words(self, name: str) -> Tensor:
        """`[L · P, words]`, of the data as it lies there; of a ring of single numbers those."""
        found = self._seen_as_words.get(name)
        if found is None:
            found = self._seen_as_words[name] = (
                rows if (rows := self.rows(name)).dim() == 1 else rows.view(torch.int64)
            )
        return found

    def __getitem__(self, name: str) -> Tensor:
        """`[P, *shape]`; of a `ring`, its rows filled up."""
        if name in self._places:  # may be written to
            self._gathered = None
        return self.data[name]

    def bytes_per_series(self) -> int:
        return sum(f.size * _size(f.dtype) for f in self.spec.values())

    def save(self, prefix: str, num_slots: int) -> Iterator[tuple[str, Tensor]]:
        for name, t in self.data.items():
            own = self._own(name, t[:num_slots])
            yield f"{prefix}.{name}", own.detach().clone(memory_format=torch.contiguous_format).cpu()

    def load(self, prefix: str, state: Mapping[str, Tensor], num_slots: int) -> None:
        """Raises KeyError where a field is missing, ValueError where its shape or dtype is another."""
        self._gathered = None
        for name, f in self.spec.items():
            saved = state[f"{prefix}.{name}"]
            if tuple(saved.shape) != (num_slots, *f.shape) or saved.dtype != f.dtype:
                raise ValueError(
                    f"{prefix}.{name}: expected {(num_slots, *f.shape)} of {f.dtype}, "
                    f"found {tuple(saved.shape)} of {saved.dtype}"
                )
            self._own(name, self.data[name][:num_slots])[...] = saved.to(self.device)

    def _own(self, name: str, data: Tensor) -> Tensor:
        """Without what its rows are filled up with."""
        f = self.spec[name]
        return data[..., : f.shape[-1]] if f.ring and len(f.shape) > 1 else data


def _convert(ring: Tensor, positions: list[int], dtype: torch.dtype) -> Tensor:
    """`[K, …]` of `[L, …]`; positions that follow each other at once."""
    new = ring.new_empty(len(positions), *ring.shape[1:], dtype=dtype)
    start = 0
    for k in range(1, len(positions) + 1):
        if k == len(positions) or positions[k] != positions[k - 1] + 1:
            new[start:k].copy_(ring[positions[start] : positions[k - 1] + 1])
            start = k
    return new


def _size(dtype: torch.dtype) -> int:
    return torch.empty((), dtype=dtype).element_size()
