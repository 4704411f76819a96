// One process, or several behind node's cluster, which hands each connection to the next of them.
import cluster from "node:cluster";

const count = Number(process.env.WEB_CONCURRENCY);

export function inProcesses(serve) {
  if (count === 1 || cluster.isWorker) {
    return serve();
  }
  for (let number = 0; number < count; number++) {
    cluster.fork();
  }
  process.on("SIGTERM", () => {
    for (const worker of Object.values(cluster.workers)) {
      worker.kill("SIGKILL");
    }
    process.exit(0);
  });
}
