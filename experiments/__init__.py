"""Research on one machine: datasets, partitions, simulations, benchmarks, reports."""
