"""The backtest: the live decision over history, each accepted entry walked to its end by the rules of live."""
