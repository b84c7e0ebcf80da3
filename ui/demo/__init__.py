"""What a hosted demo, or a class, asks and shows in a browser; the rules are in unlearn.work.visitors."""
