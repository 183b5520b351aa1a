"""Engines that are not in this process, behind a pipe or a network: what both have in common."""
