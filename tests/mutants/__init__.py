"""Deliberate faults in the order path, each of which a test has to catch."""
