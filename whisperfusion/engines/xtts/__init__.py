"""XTTS-v2: one model that speaks seventeen languages in the voice of a recording."""
