"""Holds the parts of the page Data."""
