"""The metrics of what a model still says of a text, or how likely it finds it."""
