"""These metrics read the hidden states of a model instead of its words."""
