"""The metrics of what a model knows, whatever words it uses."""
