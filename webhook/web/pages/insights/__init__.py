"""The insights: figures of what the viewer may see, as text, drawings and CSV."""
