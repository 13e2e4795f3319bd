// What the modules of the page share: elements, numbers for people, and requests whose errors say
// what to do. Knows nothing of what is shown.

export const byId = (id) => document.getElementById(id);

/// Makes an element. What it holds is put in as text or as elements, never as HTML; an attribute
/// that is a function listens to the event of its name.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/// The name of a domain, host type or node: may be long, and of any script and direction.
export const nameOf = (text) => element("bdi", { class: "name" }, text);

/// Replaces what an element holds, unless it reads the same: a person may be marking its text, or
/// hear it read.
export function put(parent, ...children) {
  const before = parent.textContent;
  const fragment = new DocumentFragment();
  fragment.append(...children);
  if (fragment.textContent !== before) parent.replaceChildren(fragment);
}

export const count = (number) => number.toLocaleString("en");

export const counted = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;

export function seconds(number) {
  if (number < 9.95) return `${Number(number.toFixed(1))} s`;
  if (number < 120) return `${Math.round(number)} s`;
  if (number < 7200) return `${Math.round(number / 60)} min`;
  return `${Math.round(number / 3600)} h`;
}

/// A request that was refused, or that nobody answered (`status` 0). The message is for people.
export class Failure extends Error {
  constructor(status, what) {
    const advice = ADVICE.find(([beginning]) => what.startsWith(beginning));
    super(`${sentence(what)}${advice ? ` ${advice[1]}` : ""}`);
    this.status = status;
  }
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

// What a person can do, by the beginning of what the server says.
const ADVICE = [
  ["'host_type' field is missing", "Choose one of the host types."],
  ["body is empty", "Reload this page: it may be older than the node."],
  ["failed to parse JSON", "Reload this page: it may be older than the node."],
  ["invalid domain name", "A name such as example.com has 1 to 250 characters and no spaces."],
  ["domain is static",
    "It is in the configuration of the nodes: change it there and restart them."],
  ["service disabled",
    "No database is configured, so there are only static domains: configure one and restart the node."],
  ["unknown host type",
    "This node has no such host type: choose another, or add it to the configuration of the nodes."],
  ["domain is being removed", "Wait until it is gone, then add it again."],
  ["duplicate",
    "Look it up: it has another host type or is being removed, and can be added when it is gone."],
  ["wrong host type", "Somebody has changed it: look it up again."],
  ["domain not found", "Check how it is written, or add it."],
  ["database error",
    "The node goes on with the table it has. Look at its log and at the database, then try again."],
  ["basic auth", "Reload this page and give the user and the password."],
  ["request from another origin",
    "Open this page by the address of the node itself; a proxy before it has to pass the header Host on."],
  ["this server has no password",
    "Open this page at such an address, or set a username and a password in the configuration of the "
      + "node."],
  ["too many connections", "Try again in a moment."],
  ["No node of MongooseIM",
    "A removal also removes data that MongooseIM keeps: start a node of it, then try again."],
  ["The result of the removal is not known", "If it is still there, remove it again."],
];

/// Where the server's paths begin: the server's own root, or below the path that a proxy gives it. The
/// address of the page may hold a password, and then it cannot be fetched from.
const ROOT = new URL("..", import.meta.url);
ROOT.username = ROOT.password = "";

/// Sends a request; returns the JSON of the answer, or null where there is none. The path is relative.
/// The node takes at most 20 s for what has no `limit` of its own here.
export async function request(method, path, body, limit = 25) {
  return parsed(await send(method, path, body && JSON.stringify(body), "application/json", limit));
}

/// The same with a body of any type; returns the text of the answer.
export async function send(method, path, body, type, limit) {
  let response, text;
  try {
    response = await fetch(new URL(path, ROOT), {
      method,
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(limit * 1000),
      ...(body && { headers: { "content-type": type }, body }),
    });
    text = await response.text();
  } catch {
    throw new Failure(0, `the node does not answer${
      method === "GET" ? "" : "; whether it did this is not known: check when it answers again"}`);
  }
  if (!response.ok) throw new Failure(response.status, parsed(text)?.what ?? `HTTP ${response.status}`);
  return text;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
