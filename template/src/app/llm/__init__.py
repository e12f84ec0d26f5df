"""Chat, extract and classify. All of it stands on pydantic-ai, whose `Model` is the one seam."""
