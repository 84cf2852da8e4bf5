"""The networks, built from a few blocks, and where their weights come from."""
