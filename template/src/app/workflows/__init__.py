"""Work that outlives a request, and the process that began it."""
