"""The dashboard and the pages in a browser."""
