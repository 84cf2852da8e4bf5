"""Lowerings: a quantizer table, spelled with the Q/DQ nodes that a runtime fuses best.

A profile says which roles get nodes, how the bias is written and which layers stay float; codes and scales are those of
the table.
"""
