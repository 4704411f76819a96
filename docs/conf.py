"""How Sphinx builds these pages: script/docs.

The pages are plain CommonMark with relative links, so that they also read well on GitHub. What
only Sphinx knows (toctrees) stands in the index pages.
"""

project = "Gitploy Relay"
author = "The Gitploy Relay contributors"
html_title = "Gitploy Relay"
html_theme = "furo"

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
# GitHub's anchors for headings, so that one link works on both; a wrong one is a warning.
myst_heading_anchors = 4
# GitHub draws ```mermaid blocks by itself.
myst_fence_as_directive = ["mermaid"]
# The diagrams are drawn by the reader's browser, which loads this version from a CDN.
mermaid_version = "11.12.1"
mermaid_fullscreen = False

exclude_patterns = ["_build"]
html_copy_source = False
html_show_sourcelink = False
