"""Whisper by faster-whisper: short context for calls, whole windows for files."""
