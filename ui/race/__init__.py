"""Holds what is shown of several methods that were launched together."""
