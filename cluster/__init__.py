"""Engines as servers, for cells on other machines: docs/cluster.md."""
