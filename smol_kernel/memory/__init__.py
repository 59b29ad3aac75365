"""What a run remembers: messages, steps, token counts. Knows nothing of models or kernels."""
