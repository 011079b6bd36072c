"""Filters: who may veto a signal."""
