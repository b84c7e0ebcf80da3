"""This room holds the training loop with its batches, its frozen reference and its masks."""
