"""These models are made of several members, or of one and another way to choose the next token."""
