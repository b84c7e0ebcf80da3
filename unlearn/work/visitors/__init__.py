"""What a visitor of a hosted demo or of a class may ask for, and how much of it: see unlearn.store.caps."""
