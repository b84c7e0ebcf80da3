"""Holds the parts of the page Methods."""
