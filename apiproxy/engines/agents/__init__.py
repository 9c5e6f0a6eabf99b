"""Engine `agents`: runs of agents, each in a CLI process of its own."""
