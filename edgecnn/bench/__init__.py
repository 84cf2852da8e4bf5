"""How long inference takes here, and whether INT8 is worth it here."""
