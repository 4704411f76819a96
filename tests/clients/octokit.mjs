// A tool that reports with octokit.js, told by variables what and where; prints what it was answered.
import { Octokit } from "octokit";

const { API, TOKEN, ID, ENVIRONMENT } = process.env;
const octokit = new Octokit({ auth: TOKEN, baseUrl: API });
const { rest } = octokit;
const repository = { owner: "acme", repo: "site" };
const deployment = { ...repository, deployment_id: Number(ID) };

const { data: listed } = await rest.repos.listDeployments({ ...repository, environment: ENVIRONMENT });
const begun = await rest.repos.createDeploymentStatus({
  ...deployment,
  state: "in_progress",
  description: "octokit is at it",
  log_url: "https://ci.example.com/7",
});
const statuses = await octokit.paginate(rest.repos.listDeploymentStatuses, {
  ...deployment,
  per_page: 2,
});
const ended = await rest.repos.createDeploymentStatus({
  ...deployment,
  state: "success",
  description: "octokit is done",
  environment_url: "https://site.example.com",
});
const refused = await rest.repos.getDeployment(deployment).catch((error) => error);

console.log(
  JSON.stringify({
    listed: listed.map((one) => one.id),
    begun: [begun.status, begun.data.state, begun.data.creator.login],
    statuses: statuses.map((status) => status.description),
    ended: [ended.status, ended.data.environment_url],
    refused: [refused.status, refused.message],
  }),
);
