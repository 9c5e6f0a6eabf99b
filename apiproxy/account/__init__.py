"""Endpoints for a key's own models, usage, limits and sessions."""
