"""Complete, no and partial pooling side by side."""
