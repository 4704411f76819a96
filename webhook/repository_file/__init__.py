"""A repository's own deploy.yml, Gitploy's: what it says, and how it tightens the operator's.

Pure: whoever uses it brings the text. Whoever may push to a repository writes this file, so that
nothing in it is trusted: it may only tighten.
"""
