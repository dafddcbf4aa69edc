"""What of Flower runs at a firm: its SuperNode, the executor of its tasks, and which app bundles it takes part in."""
