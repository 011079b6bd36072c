"""Tiers, filters and entries: one file, one plugin."""
