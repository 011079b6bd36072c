"""The pure core: decides, and has no await, clock, log or I/O."""
