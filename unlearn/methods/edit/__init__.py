"""The methods that edit weights or hidden states instead of training an answer."""
