"""Sources of logits: a live model, several, a cache, faster engines, and how one is chosen. Nothing here trains."""
