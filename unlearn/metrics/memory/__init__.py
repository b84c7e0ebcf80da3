"""These metrics measure how much of a text a model still says, or how likely it finds it."""
