"""Long-running sets of processes: started in order, watched, restarted with back-off, stopped cleanly."""
