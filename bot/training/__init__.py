"""Training of checkpoints on bars, and their evaluation on time that training never saw."""
