"""These metrics compare a model with one that never saw the forget texts."""
