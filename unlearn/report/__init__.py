"""Writes the HTML report: everything that runs show, in one file."""
