"""Rules that predict from bars alone."""
