"""The venue: its port, the socket client, the matching engine and the simulator around it."""
