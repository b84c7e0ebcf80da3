"""What a model's name stands for: its parts, its prompt format, and the model that was retrained without rows."""
