"""Parity and accuracy of an artifact against the eager model, with statistics, and the policy that judges them."""
