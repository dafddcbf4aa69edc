"""What runs at a firm or a bank."""
