"""Sessions: conversations identified by an id."""
