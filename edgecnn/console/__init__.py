"""Tables, bars and colours for people."""
