"""The desk: the single writer to the venue, its order states, protection and reconciliation."""
