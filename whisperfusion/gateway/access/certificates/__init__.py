"""HTTPS certificates: a private authority and the server certificate that it signs."""
