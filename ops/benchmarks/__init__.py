"""Benchmarks beside their baselines."""
