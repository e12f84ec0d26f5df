"""What the agent can do: a module a tool. `resources.py` lists those that it has."""
