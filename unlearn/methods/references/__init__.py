"""These methods are references for all others: they keep training, or train again without the texts."""
