// Shows how the node is: what /api/status and /api/nodes say, and whether the table is right.

import { byId, count, counted, element, nameOf, put, request, seconds } from "./page.js";
import { drawLag } from "./chart.js";
import { fact, showFacts } from "./facts.js";

const STATES = {
  loading: ["warning", "The table is not complete yet."],
  following: ["good", "The table follows the database."],
  retrying: ["bad", "The last check failed. The table stays as it is; the next try comes by itself."],
  stopped: ["bad", "The service is stopped: the table stays as it is."],
  disabled: ["warning", "No database is configured: only static domains route."],
};

/// A check ends well at least every 30 seconds.
const CHECK_IS_LATE = 60;

export function showStatus(status) {
  put(byId("node"), nameOf(status.node), ` version ${status.version}`);
  showState(status);
  showFacts(byId("glance"), glance(status));
  drawLag(status.history);
  put(byId("host-types"), ...hostTypes(status.host_types));
  showFacts(byId("work"), work(status));
  showFacts(byId("errors"), Object.entries(status.errors).map(([kind, number]) =>
    fact(kind, count(number), "", "bad")));
  const { last_error: last } = status;
  put(byId("last-error"), last ? `The last one (${last.reason}): ${last.text}` : "There was none.");
}

/// All in one line: the state and what it means, and whether the table is current.
function showState({ state, domains, lag, lag_seconds: late, seconds_since_check: check }) {
  const [mood, meaning] = STATES[state] ?? ["warning", ""];
  const behind = late > 0 ? [lag > 0 ? `${counted(lag, "event")}, ${behindBy(late)}` : behindBy(late)]
    : lag === null ? [] : ["current"];
  byId("state").className = mood;
  put(byId("state"), element("strong", {}, state), ` ${meaning} `, element("span", { class: "note" },
    [counted(domains, "domain"), ...behind, ...(check === null ? [] : [`checked ${seconds(check)} ago`])]
      .join(" · ")));
}

const behindBy = (late) => `${seconds(late)} behind`;

function glance(status) {
  const { lag, lag_seconds: late, seconds_since_check: check, database } = status;
  return [
    fact("Domains", count(status.domains), `${count(status.followed)} of the database`),
    fact("Lag", lag === null ? "not known" : counted(lag, "event"),
      late === null ? "" : late === 0 ? "current" : behindBy(late),
      lag === null || late > CHECK_IS_LATE ? "warning" : ""),
    fact("Last check", check === null ? "none yet" : `${seconds(check)} ago`,
      check > CHECK_IS_LATE ? "Late: one is due every 30 seconds." : "",
      check > CHECK_IS_LATE ? "bad" : ""),
    fact("Position", status.position === null ? "not known" : count(status.position),
      status.newest_event === null ? "" : `newest event ${count(status.newest_event)}`),
    fact("Database", database ? database.kind : "none",
      database ? `${counted(database.connections, "connection")}, ${count(database.idle)} idle` : ""),
  ];
}

function hostTypes(all) {
  return all.map(({ host_type, allowed, domains }) => element("tr", {},
    element("th", { scope: "row" }, nameOf(host_type),
      ...(allowed ? [] : [" ", element("span", { class: "note" }, "(only static domains)")])),
    element("td", { class: "number" }, count(domains))));
}

function work(status) {
  const reloads = Object.entries(status.reloads);
  return [
    fact("Checks", count(status.checks)),
    fact("Loads", count(status.loads)),
    ...(reloads.length ? [] : [fact("Reloads", "0")]),
    ...reloads.map(([reason, number]) => fact(`Reloads: ${reason}`, count(number), "", "warning")),
    fact("Audits", count(status.audits)),
    fact("Gaps settled", count(status.gaps_settled)),
    fact("Dummies written", count(status.dummies_written)),
  ];
}

export async function showNodes() {
  try {
    const { nodes } = await request("GET", "api/nodes");
    put(byId("nodes"), ...nodes.map(nodeRow));
    put(byId("nodes-error"));
  } catch (failure) {
    // Of silence the banner tells.
    put(byId("nodes-error"), failure.status ? failure.message : "");
  }
}

function nodeRow({ node, this: isThis, reachable, status }) {
  const state = !reachable ? "not reachable" : status?.state ?? "not known";
  const mood = !reachable ? "bad" : status ? STATES[status.state]?.[0] ?? "" : "";
  return element("tr", {},
    element("th", { scope: "row" }, nameOf(node), isThis ? " (this)" : ""),
    element("td", { class: mood }, element("strong", {}, state)),
    ...[status?.lag, status?.domains].map((number) =>
      element("td", { class: "number" }, number == null ? "–" : count(number))));
}

/// Compares the table with the database, and says what differs.
export async function verify() {
  const said = byId("verified");
  said.className = "";
  said.textContent = "Comparing the table with the database…";
  byId("differences").replaceChildren();
  try {
    // A check has to end first, and a pass over a big database takes its time: the node gives up
    // after 120 s.
    const found = await request("POST", "api/verify", undefined, 130);
    const differs = found.result === "differs";
    said.className = differs ? "error" : "good";
    said.textContent = differs
      ? `${counted(found.count, "domain")} differed. Everything is being loaded again.`
      : "The table and the database say the same.";
    byId("differences").append(...(found.domains ?? []).map(({ domain, in_table, in_database }) =>
      element("li", {}, nameOf(domain), ": in the table ", hostTypeOrNone(in_table),
        ", in the database ", hostTypeOrNone(in_database))));
  } catch (failure) {
    said.className = "error";
    said.textContent = failure.message;
  }
}

const hostTypeOrNone = (hostType) => (hostType === null ? "none" : nameOf(hostType));
