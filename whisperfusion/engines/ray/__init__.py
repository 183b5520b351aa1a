"""Engines on servers of a cluster (`cluster/`), such as Ray Serve's."""
