"""These methods change how the next token is chosen, and no weight. Whoever has the weights has the knowledge."""
