"""Pictures: each has a data step, the frame it draws, and a drawing step."""
