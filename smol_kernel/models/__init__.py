"""Models: what the loop asks for the next action. The seam is `base.Model`; LiteLLM is imported by one file only."""
