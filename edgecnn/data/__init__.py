"""Pictures: safe decoding, the one transform, sets, and pinned downloads."""
