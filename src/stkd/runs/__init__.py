"""All that lies in a run directory: written, read and opened here and nowhere else. Nothing here trains."""
