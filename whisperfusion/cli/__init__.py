"""The commands beside the server: talk, replay, doctor."""
