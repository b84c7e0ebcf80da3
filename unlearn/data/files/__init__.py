"""Readers of files, one for each kind, which turn untrusted bytes into a Table within fixed bounds."""
