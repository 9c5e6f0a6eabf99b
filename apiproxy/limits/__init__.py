"""Limits of keys: per minute, concurrent runs, and budgets; reserved before a run, settled after it."""
