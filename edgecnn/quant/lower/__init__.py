"""Lowerings: one quantizer table, spelled with the Q/DQ nodes that a runtime fuses best.

A profile only says which roles get nodes and how the bias is written; codes and scales are the table's own.
"""
