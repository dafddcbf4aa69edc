"""A deterministic simulator of the consortium ledger: one seed is one schedule of messages, lies and crashes.

The ledger's own code runs unchanged: real signatures, real log, witnesses, receipts. What stands around it is
simulated: the network, the clocks, and disks that outlive the process that wrote them.
"""
