"""Joining a consortium, as both halves see it: the invite, what an organisation signs, and how it calls the desk."""
