"""Ordered checks before an announce counts; each may refuse."""
