"""The hands: where actions run. The loop holds a `PythonExecutor`; the one built here is a child Jupyter kernel."""
