"""These metrics measure whether a model's words are still language."""
