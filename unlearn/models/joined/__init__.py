"""These models are made of several members, of what several runs changed, or of one and another way to choose the
next token."""
