"""These methods edit weights or hidden states instead of training an answer."""
