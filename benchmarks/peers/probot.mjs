// Probot as it comes: its own server, with its logs; stores nothing.
import { run } from "probot";
import { inProcesses } from "./processes.mjs";

inProcesses(() => run((app) => app.on("deployment.created", () => {})));
