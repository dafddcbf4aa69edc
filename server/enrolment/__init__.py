"""The coordinator's half of joining: invites, the join desk, admission, approvals, certificates and revocation."""
