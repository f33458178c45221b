"""Many trainings for one answer: comparisons, tuning, the demo, benchmarks of the step, and their statistics."""
