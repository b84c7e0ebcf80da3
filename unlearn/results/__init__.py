"""Makes tables out of finished runs: comparison, grid, guide, verdict and cost. No torch."""
