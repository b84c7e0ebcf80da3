"""Holds the parts of the page Start."""
