"""What keys may use: limits per minute, runs at the same time, and budgets; reserved before a run, settled after it."""
