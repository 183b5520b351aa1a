"""For operators: health, metrics, events and the dashboard."""
