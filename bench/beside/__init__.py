"""Holds what our training step and our runs are measured beside."""
