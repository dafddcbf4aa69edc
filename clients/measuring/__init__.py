"""Measurement rounds: a statistic of the firms' records, summed as gradients are: bounded, noised, masked and paid."""
