"""The score protocol that both halves speak: a question, the signed answer to it, and the proof beside it."""
