"""`make bench`: the edge beside Envoy and nginx, in one run, on pinned cores. See docs/benchmarking.md."""
