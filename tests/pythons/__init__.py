"""`python -m tests.pythons`: the gateway on another Python than the tests', from the lock to the last exit code.

Each Python named on the command line, or each newer supported one that this machine has (on PATH, or by pyenv), gets a
virtual environment of its own with requirements.lock and both official clients. There the gateway is started as a demo,
called by the clients, asked for the dashboard, and ended. It needs nothing but the standard library itself.
"""
