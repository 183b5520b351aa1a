"""Kokoro 82M: one small model with voices of eight languages."""
