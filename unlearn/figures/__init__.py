"""Figures: plain records go in, a Plotly figure comes out. No torch, no screen."""
