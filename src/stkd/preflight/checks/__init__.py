"""One check a file: a function from the subject to findings, registered by name."""
