"""Recent answers, encrypted with the client's key and kept for an hour for later references."""
