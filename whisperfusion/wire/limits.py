"""How long and how large the fields are that several protocols share."""

UID_LENGTH, INSTRUCTIONS_LENGTH, NAME_LENGTH = 200, 8000, 200  # characters
SLOWEST, FASTEST = 0.5, 2.0  # pace of a voice
