"""Students for limits of latency, size or work: candidates, and what they cost on this machine."""
