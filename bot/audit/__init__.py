"""The audit: refused signals are followed to their end, and the signal log is held against itself."""
