"""An attack on the privacy of a whole federation, to hold what is claimed against what can be measured."""
