"""Entries: how an allowed signal becomes an order."""
