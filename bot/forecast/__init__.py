"""The model's owner: windows in, forecasts out."""
