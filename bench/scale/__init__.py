"""What carrying runs out elsewhere costs: beside plain execute(), and for many at once."""
