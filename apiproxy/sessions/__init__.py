"""Sessions: conversations identified by an id, with lineage, counters, storage and expiry."""
