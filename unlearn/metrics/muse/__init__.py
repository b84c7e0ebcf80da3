"""The metrics of the MUSE benchmark."""
