"""The sweep: a grid of configurations over stored forecasts, walked by the rules that the bot trades by."""
