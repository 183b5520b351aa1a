"""Engines in an interpreter of their own, behind a pipe."""
