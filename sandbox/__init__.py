"""Stand-ins for the services around the relay: real HTTP servers on 127.0.0.1, as strict as theirs.

Tests, benchmarks and the demo run the relay against them. Nothing here imports the relay, and in
the relay only the demo command imports this package. A test starts a stand-in with `async with`,
sets it up with its methods, and reads the results from its attributes:

    async with GitHub() as github:
        github.add_installation("acme", ["acme/site"])
        github.faults.add("POST /repos/*/statuses", Fault.status(502), times=2)
        deployment = await github.create_deployment("acme/site", "v1.0")
        await github.wait_for(deployment.id, "success")

`server.Server` is their base: it starts, stops and restarts on one port, and records `calls`.
`faults.Fault` is what a test injects into any of them: an error, a rate limit, a hanging request or
a closed connection, before or after the work is done; `server.faults` has the rules.
`sandbox.Sandbox` starts GitHub and Slack together and has the environment variables of a relay.

- `github.server.GitHub`: one App, its installations, repositories, deployments and signed webhooks.
  `sign_in` is a person in a browser who authorizes the App; `add_collaborator`, `rename_user` and
  `revoke_authorization` change who that is and what they may do. `website` has pages for people.
  Its own failures: `rate_limits`, `Installation.suspended`, `Repository.conflicting` and
  `missing_refs`; `webhooks.timeout` is how long it waits for the relay.
- `github_actions.server.Actions`: workflows and runs, as `github.actions`. `Job(outcome=...)` fails
  a run; `runs.paused` leaves it to the test; `index_lag` makes filtered lists late.
- `slack.server.Slack`: workspaces with one App, over HTTP and Socket Mode: messages, blocks, views,
  buttons, commands, events and OAuth; `website` has channels for people, who press and type there.
  Its own failures: `auth_error`, `scopes`, `post_interval`, `sockets.drop()`; `response_timeout` is
  how long it waits for the App.
- `discord.Discord`: webhooks of channels; `limited` sets a rate limit.
- `event_receiver.EventReceiver`: an endpoint for signed events; with `gone` it responds with 410.
- `drone.Drone`: repositories and builds; `Repo.ends` and `bad_yaml` fail builds; `access`
  hides them.
- `woodpecker.Woodpecker`: repositories and pipelines; `outcome` and `Pipeline.config` fail them.
- `spinnaker.server.Spinnaker`: Gate, with Echo and Orca behind it: pipelines and executions; `fail`
  and `hold` stages, or `set_status` of an execution.
- `tooling.Tooling`: a company's own tool, which responds, is polled, or reports; `ends` fails jobs.
- `demo`: `python -m webhook demo`.
"""
