"""How long a test waits for the app."""

PATIENCE = 90.0  # seconds for an answer; two busy processors need 30
