"""Language models behind a URL."""
