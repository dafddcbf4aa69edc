"""How the coordinator adds up contributions: one module per rule."""
