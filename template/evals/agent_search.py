"""Agent and documents: does it search for what they may hold, and say what they say?"""

from dataclasses import replace

from evals import agent

EVAL = replace(agent.EVAL, search=lambda resources: resources.embeddings.model, floors={"all": 0.6})
