"""A run is a folder on the disk: this room knows its form, its settings and its place. No torch."""
