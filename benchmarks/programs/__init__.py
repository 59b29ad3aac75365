"""Programs in the shapes of smolagents' documentation, own code on its public names; `python benchmarks/programs`."""
