"""Programs in the shapes of smolagents' documentation, own code on its public names; `python benchmarks/programs`."""

MODULES = ["code_agents", "loops", "settings", "tool_calls", "managed_agents", "web", "pieces"]
