"""Holds the parts of the page Claims."""
