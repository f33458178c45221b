"""The page that shows a model in a browser: its template and scripts, and the runtime that goes beside them."""
