"""Access control: keys, rate limits, origins, pairing, HTTPS."""
