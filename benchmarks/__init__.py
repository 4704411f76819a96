"""How fast the hot path is, beside others that do less."""
