"""Models: which ones there are, how they are loaded, placed, tuned and bundled."""
