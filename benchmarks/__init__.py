"""The benchmark suite: ``python -m benchmarks``; :mod:`benchmarks.__main__` has its options."""
