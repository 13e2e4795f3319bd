// The operator's page of a node: status.js shows how the node is, domains.js what it routes, import.js
// brings a file in. This module asks every 5 seconds, while somebody looks, and says when the node does
// not answer.

import { dismissHelp } from "./facts.js";
import { byId, put, request } from "./page.js";
import { showNodes, showStatus, verify } from "./status.js";
import { offerHostTypes, recovered, showChanges, start } from "./domains.js";
import { startImports } from "./import.js";

const EVERY = 5000;
let lastAnswer = null;

async function ask() {
  try {
    const status = await request("GET", "api/status", undefined, 4);
    showStatus(status);
    offerHostTypes(status.host_types);
    lastAnswer = new Date();
    if (byId("silence").textContent) {
      put(byId("silence"));
      put(byId("recovery"), "The node answers again.");
      recovered();
    }
  } catch (failure) {
    put(byId("recovery"));
    put(byId("silence"), failure.status ? failure.message : "The node does not answer.",
      lastAnswer ? ` Below is what it said at ${lastAnswer.toLocaleTimeString("en-GB")}.` : "",
      " This page goes on asking, every 5 seconds.");
  }
  document.body.classList.toggle("stale", byId("silence").textContent !== "");
}

/// Runs the work unless it still runs from the last time.
function oneAtATime(work) {
  let running = null;
  return () => (running ??= work().finally(() => (running = null)));
}

const askStatus = oneAtATime(ask);
const askNodes = oneAtATime(showNodes);
const askBoth = () => {
  if (document.hidden) return;
  askStatus();
  askNodes();
};

askBoth();
setInterval(askBoth, EVERY);
document.addEventListener("visibilitychange", askBoth);
byId("verify").addEventListener("click", oneAtATime(() => verify().then(askStatus)));
start(askStatus);
startImports(showChanges);
dismissHelp();
