"""These metrics belong to the MUSE benchmark."""
