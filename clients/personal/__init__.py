"""A firm's own models on top of the federated ones: fitted and kept at the firm, for the firm alone.

Nothing of them ever leaves, so they cost no privacy. Nothing that answers a message may import this package: a test
holds that (`tests/test_architecture.py`).
"""
