"""The credit-score service: features in, a score with reasons and a checkable receipt out."""
