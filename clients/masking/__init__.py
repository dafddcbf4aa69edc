"""The client half of masked aggregation: the coordinator learns a sum over firms and no single update.

Two trips a round: `protect` gives what a firm sends first, `answer` opens the sum over one closed set.
"""
