"""A feed from its start to its last line: progress, Ctrl-C, flush."""

from collections.abc import Callable, Iterable

import numpy as np
from rich.console import Console

from pipeline.demo.feed import FLUSH_TIMEOUT_S, Feed, Outlet, Pacer, run_feed
from pipeline.demo.meter import Meter
from pipeline.feed_options import hold_sigterm
from pipeline.records import Readings


def run_session(
    console: Console,
    outlet: Outlet,
    feed: Feed,
    steps: Iterable[Readings],
    pacer: Pacer,
    *,
    for_s: float = np.inf,
    num_readings: int | None = None,
    total: int | None = None,
    describe: Callable[[], str] = str,
) -> tuple[Meter, bool]:
    """Send, flush and close; returns the meter, for its last line, and whether Ctrl-C ended it.

    ``total`` readings are expected if that is known; ``describe`` adds to the line of progress.
    Raises BrokerError.
    """
    stopped = False
    with hold_sigterm(), Meter(console, feed, total=total or num_readings) as meter:
        try:
            run_feed(
                feed,
                steps,
                pacer,
                for_s=for_s,
                num_readings=num_readings,
                on_step=lambda step: meter.show(pacer, describe()),
            )
        except KeyboardInterrupt:
            stopped = True
        outlet.flush(FLUSH_TIMEOUT_S)
    outlet.close()
    return meter, stopped
