"""The HTML report: everything that runs have to say, in one file."""
