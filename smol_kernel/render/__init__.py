"""The events of a run as console, text, HTML and Markdown. Every reader here draws from the same `Transcript`."""
