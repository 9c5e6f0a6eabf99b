"""Conversations that are known by an id: recognised, compared with what was seen of them, counted, and forgotten."""
