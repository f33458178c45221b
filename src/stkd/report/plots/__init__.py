"""Figures of the pages, as plotly figures: numbers in, a figure out. Names in a figure are HTML to plotly, so all are
escaped here; page.js adds what depends on the colour of the paper.
"""
