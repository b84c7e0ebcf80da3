"""These metrics measure what a model knows, in whatever words it says it."""
