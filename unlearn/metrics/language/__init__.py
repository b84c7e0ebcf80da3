"""The metrics of whether what a model says is still language."""
