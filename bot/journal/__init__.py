"""What is written down: signals, positions, orders, fills and events, in PostgreSQL."""
