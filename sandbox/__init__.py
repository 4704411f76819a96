"""Stand-ins for the services around the relay: real HTTP servers on 127.0.0.1, as strict as theirs.

The tests, the storm and the demo drive the relay against these; the relay itself never imports
them. Each is a `server.Server`: `async with GitHub() as github: ... github.url`.
"""
