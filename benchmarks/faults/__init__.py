"""Reproductions of smolagents' known faults, one function a row, run on both libraries; `python benchmarks/faults`."""
