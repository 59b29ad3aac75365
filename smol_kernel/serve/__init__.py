"""The ways in from outside a notebook: the Agent kernel and the `smol` command."""
