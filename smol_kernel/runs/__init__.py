"""The record: what can be made of a finished run, such as cells and a notebook."""
