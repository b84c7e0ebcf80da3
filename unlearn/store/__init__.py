"""This room knows the folder of a run: its files, its settings and its place on the disk. No torch."""
