"""Holds the parts of the page Stress."""
