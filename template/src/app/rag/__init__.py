"""Documents in, passages out: ingestion, and retrieval by meaning and by words."""
