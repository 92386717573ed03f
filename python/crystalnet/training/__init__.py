"""How a network is trained: what a step learns from, the steps, validation, several processes, the log."""
