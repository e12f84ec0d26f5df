"""Chat with a language model. It stands on pydantic-ai, whose `Model` is the one seam."""
