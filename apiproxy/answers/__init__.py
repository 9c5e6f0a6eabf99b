"""Recent answers: kept for an hour, encrypted with the client's own key, for clients that refer to them."""
