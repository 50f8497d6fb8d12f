"""Programs run by hand, and what they share with tests and benchmarks: `browser`, `visitor`, `peers`."""
