"""Tiers: checkpoint, threshold, risk template and skip windows of their variants."""
