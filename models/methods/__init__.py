"""One method a file; `method.methods()` finds them by name."""
