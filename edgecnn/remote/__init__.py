"""Artifacts on another machine, by the system's ``ssh``: what is sent there, what runs there, what comes back."""
