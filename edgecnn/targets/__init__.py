"""Runtimes: each builds files from a graph, and opens them again as a session."""
