"""The common rule: the sweep's figures are those of a plain loop."""

import pytest

from benchmarks.common_rule import plain_loop, sweep
from benchmarks.made_market import five_minutes


def test_the_sweep_of_the_common_rule_is_the_plain_loops() -> None:
    some = [five_minutes(f"S{seed}USDT", 6_000, seed) for seed in range(2)]
    bounds, stops, targets = (25.0, 30.0), (1.0, 2.0), (1.0, 3.0)
    figures = iter(sweep(some, bounds, stops, targets))
    for stop in stops:
        for target in targets:
            for bound in bounds:
                trades, net = plain_loop(some, bound, stop, target)
                assert trades > 50
                got = next(figures)
                assert got[0] == trades
                assert got[1] == pytest.approx(net, abs=1e-9)
