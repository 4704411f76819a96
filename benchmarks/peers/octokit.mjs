// @octokit/webhooks on node's own HTTP server, by its README; stores nothing.
import { createServer } from "node:http";
import { createNodeMiddleware, Webhooks } from "@octokit/webhooks";
import { inProcesses } from "./processes.mjs";

const { PORT, SECRET } = process.env;

inProcesses(() => {
  const webhooks = new Webhooks({ secret: SECRET });
  webhooks.on("deployment.created", () => {});
  const middleware = createNodeMiddleware(webhooks, { path: "/webhook" });
  createServer(middleware).listen(Number(PORT), "127.0.0.1");
});
