"""The loop: thought, action, observation, until an answer. Read `multi_step.py` first, then `code_agent.py`."""
