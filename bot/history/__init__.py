"""What was recorded, on disk: bars, mark prices, funding and forecasts in Parquet. No socket, no torch."""
