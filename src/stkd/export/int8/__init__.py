"""A captured model in 8-bit integers: ranges, the quantised graph, what each layer costs, and training for it."""
