"""The references that every other method is compared with: keep training, or train again without the texts."""
