"""The same work on many things, spread over processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Thing = TypeVar("Thing")
Done = TypeVar("Done")


def spread(
    work: Callable[[Thing], Done],
    things: Sequence[Thing],
    costs: Sequence[float],
    *,
    processes: int,
    on_progress: Callable[[float], None],
) -> list[Done]:
    """What `work` returns of each thing, in their order; the dearest begin first, and `on_progress` hears the
    cost of each that is done. With one process it is this one; to others, work and things are pickled.

    Raises what `work` raises. Then, and at Ctrl-C, what still runs is ended at once.
    """
    if min(processes, len(things)) <= 1:
        found = []
        for thing, cost in zip(things, costs, strict=True):
            found.append(work(thing))
            on_progress(cost)
        return found
    # spawned: a forked process would inherit the threads of torch half-way through something
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(things)), mp_context=context) as pool:
        order = sorted(range(len(things)), key=lambda at: -costs[at])
        futures = {pool.submit(work, things[at]): at for at in order}
        try:
            for done in as_completed(futures):
                done.result()
                on_progress(costs[futures[done]])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # nobody waits for results any more, and one may take minutes
            children = multiprocessing.active_children()
            for child in children:
                child.terminate()
            for child in children:
                child.join()
            raise
        by_place = {at: future.result() for future, at in futures.items()}
    return [by_place[at] for at in range(len(things))]
