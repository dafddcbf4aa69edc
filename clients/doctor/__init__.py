"""What is wrong with a home, and how to mend it: one check for each concern, each of which says what, where and how."""
