"""A server with many callers as a queueing model: processor sharing, stages, callers."""
