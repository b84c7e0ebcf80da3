"""Tables out of finished runs: comparison, grid, guide, verdict, cost. No torch."""
