"""What each command of the command line does, but for `run` and `check`: it is called with plain values and prints."""
