"""What all pages are made of: figures with units, charts as SVG, tables that are paged, searched and sorted by address.

`tests/dashboard/sample.py` shows each of them on one page.
"""
