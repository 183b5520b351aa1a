"""Shared by all processes: life cycle, queues, sockets, limits, logging."""
