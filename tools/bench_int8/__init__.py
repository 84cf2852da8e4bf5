"""edgecnn's INT8 against NNCF's and ONNX Runtime's own, from the same graph and the same images.

``make bench-int8``, or ``python -m tools.bench_int8 --quick`` in an environment with the extra ``peers``. The order to
read in: ``cases`` (what is compared, and what edgecnn must reach), ``candidates`` (how each INT8 is made), ``compare``
(one model from start to rows), ``report`` (what comes out of it).
"""
