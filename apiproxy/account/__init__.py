"""Endpoints for a key's own usage, limits and sessions."""
