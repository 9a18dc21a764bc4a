"""The status page: one offline file with how things stand, drawn from the logs, the exceptions and row counts.

facts.py reads, lineage.py finds what feeds what, charts.py draws, render.py makes the page, after_cycle.py writes it.
"""
