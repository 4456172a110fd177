"""One HTML file that holds a whole study, or a fit: text, mathematics, tables, pictures; it asks nothing of a network."""
