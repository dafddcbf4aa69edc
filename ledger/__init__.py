"""The consortium ledger: signed statements in a witnessed Merkle log. Knows nothing of learning."""
