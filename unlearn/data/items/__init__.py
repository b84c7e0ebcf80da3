"""This room holds the items on which each benchmark scores a model, beside the rows that a run forgets and keeps."""
