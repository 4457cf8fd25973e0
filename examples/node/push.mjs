// Pushes one study: REDIS_URL=$(dlr redis url) node push.mjs job.json, or redis://user:password@host:6379/0
import { readFileSync } from "node:fs";
import { createClient } from "celery-node";

const url = process.env.REDIS_URL;
const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const client = createClient(url, url, "intake");
client.conf.CELERY_BROKER_OPTIONS = client.conf.CELERY_BACKEND_OPTIONS = {
  username: decodeURIComponent(new URL(url).username), // which this client's Redis library leaves out of a URL
  enableReadyCheck: false, // a user who may only push may not ask the server how it is
};

await client.isReady();
client.sendTask("dlr.submit_study", [], { job });
await new Promise(setImmediate); // it is sent a moment later
// Closes the connections once what was sent has been answered; a refusal ends this program with status 1.
await client.disconnect();
