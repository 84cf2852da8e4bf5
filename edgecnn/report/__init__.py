"""Runs for people: a page, a table for pull requests, and what changed since another run. Reads run files alone."""
