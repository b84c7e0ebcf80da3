"""Holds the parts of the page Sweep."""
