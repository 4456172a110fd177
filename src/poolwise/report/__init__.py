"""One HTML file that holds a whole study, or a fit; it asks nothing of a network."""
