"""Benchmarks: each module measures one figure beside what it is compared with, in the same run."""
