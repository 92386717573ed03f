"""The network, its inputs and its loss."""
