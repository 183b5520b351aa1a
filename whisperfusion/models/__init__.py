"""Which models there are, where they come from, and where they lie on this machine."""
