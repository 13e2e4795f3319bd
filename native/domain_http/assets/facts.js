// Lists of facts: a term, its value, and a text that says what the term means, shown on hover and on
// focus.

import { element, put } from "./page.js";

/// What the terms mean.
const HELP = {
  Domains: "Names that route on this node: those of its configuration, and those of the database that "
    + "are enabled and have a host type of this node.",
  Lag: "Events of the database's log that are known here and not applied yet. Behind: the time since "
    + "the table was last known to be current.",
  "Last check": "When the node last looked at the event log without a failure. It looks when somebody "
    + "changes a domain, and every 30 seconds.",
  Position: "The newest event of the log up to which the table has everything.",
  Database: "Its kind, and the connections that the server of this page has to it. The connections "
    + "by which the node follows it are not counted.",
  Checks: "Successful checks of the event log since the table was made.",
  Loads: "How often all domains were read: at the start, and when the table could not be trusted.",
  Reloads: "How often everything was loaded again because the table could not be trusted any more; "
    + "each reason is counted by itself. Usually there are none.",
  Audits: "Complete comparisons of the table with the database. One begins every few minutes.",
  "Gaps settled": "Event numbers that were missing in the log, because a transaction was rolled back or late, "
    + "and that are explained now. A few are usual.",
  "Dummies written": "Empty events that were written for missing event numbers, so that no node waits for "
    + "them any more.",
  "Reloads: too_old": "The node was away for longer than the database keeps its events.",
  "Reloads: went_backwards": "The log of the database lost its newest events: it was restored from a "
    + "backup, or a replica that was behind took over.",
  "Reloads: differs": "A comparison found domains for which the table was wrong.",
  "Reloads: requested": "Somebody asked for it.",
  database_unavailable: "The database could not be reached, or a connection broke.",
  timeout: "The database did not answer in time.",
  tls_failed: "No TLS connection to the database: look at the certificates.",
  access_denied: "The database refused the user, the password or the database's name.",
  missing_tables: "MongooseIM's tables are not in this database.",
  read_only: "The database is read-only: it may be a replica.",
  query_failed: "The database refused a query; the last failure says why.",
};

/// A term, its value, a note beside it, and how good it is: good, warning or bad.
export const fact = (term, value, note = "", mood = "") => ({ term, value, note, mood });

/// Shows the facts in a `dl`. While the terms are the same, only values are replaced: somebody may read
/// a help.
export function showFacts(list, facts) {
  const terms = facts.map(({ term }) => term).join("\n");
  if (list.dataset.terms !== terms) {
    list.dataset.terms = terms;
    list.replaceChildren(...facts.map(({ term }) => element("div", {}, termOf(list, term), element("dd"))));
  }
  facts.forEach(({ value, note, mood }, at) => {
    const place = list.children[at].lastElementChild;
    place.className = mood;
    put(place, element("strong", {}, value), ...(note ? [" ", element("span", { class: "note" }, note)] : []));
  });
}

function termOf(list, term) {
  const help = HELP[term];
  if (!help) return element("dt", {}, term);
  const id = `about-${list.id}-${term.replaceAll(/\W+/g, "-")}`;
  return element("dt", {},
    element("dfn", { tabindex: 0, "aria-describedby": id, pointerenter: show, focus: show }, term),
    element("span", { class: "help", role: "tooltip", id }, help));
}

const show = () => document.body.classList.remove("no-help");

/// Escape hides a help that is in the way.
export function dismissHelp() {
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") document.body.classList.add("no-help");
  });
}
