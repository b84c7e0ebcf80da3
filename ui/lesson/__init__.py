"""Holds the parts of the page Lesson."""
