"""The training loop with its batches, its frozen reference and its masks."""
