"""Market data: closed bars without gaps, prices and marks."""
