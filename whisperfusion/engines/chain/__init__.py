"""Engines made of engines: an ordered list of links, the first of which that can answers."""
