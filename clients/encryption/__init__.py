"""Sums under CKKS encryption, for consortia that name a key holder who is not the coordinator."""
