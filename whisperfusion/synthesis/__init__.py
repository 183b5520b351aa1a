"""The speaking process: its calls, the clients that listen, and the engine."""
