"""Generators for elsewhere: what is written here is opened by programs that know nothing of ganvas."""
