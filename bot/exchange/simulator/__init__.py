"""An exchange on loopback: matching behind Binance's REST and WebSocket protocol, on generated or recorded bars."""
