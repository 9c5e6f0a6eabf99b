"""Limits of keys: requests and tokens per minute, concurrent runs, budgets."""
