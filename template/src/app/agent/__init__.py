"""An agent: a model that uses tools, in runs that survive a crash and wait for people."""
