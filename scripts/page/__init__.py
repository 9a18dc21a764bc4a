"""The status page: one offline file with how things stand, drawn from the logs, the exceptions and row counts.

facts.py and row_counts.py read, lineage.py finds what feeds what, charts.py draws, sections.py lists the sections,
render.py makes the page, place.py writes it, after_cycle.py does so after each cycle.
"""
