"""A trading bot for Binance USDS-M perpetual futures on forecasts of TimesFM 2.5."""
