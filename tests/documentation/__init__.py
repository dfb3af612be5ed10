"""The documentation: links, examples, generated parts."""
