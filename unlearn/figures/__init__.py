"""Draws figures: it takes plain records and returns Plotly figures. No torch, no screen."""
