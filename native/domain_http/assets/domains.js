// Looks domains up, lists them by pages, adds and changes them.

import { byId, element, nameOf, put, request } from "./page.js";

const PAGE = 50;
const WHY_STATIC = "Static: only the configuration of the nodes can change it.";
const WHY_NEVER = "Never routes: its name is not nameprepped, so nothing asks for it. Others wrote it to "
  + "the database.";

/// What the list shows, as parameters of its query.
let filters = [];
/// `after` of the pages before this one, of this one, and of the next (null behind the last).
let before = [];
let here = null;
let next = null;
/// Counts the loads of the list: of two that overlap the later one counts.
let loads = 0;
let listFailed = false;
/// The domain whose details are shown.
let found = null;
/// Called after a change.
let changed = () => {};

export function start(onChange) {
  changed = onChange;
  onSubmit("look-up", () => lookUp(byId("look-up-name").value.trim()));
  onSubmit("add", add);
  onSubmit("filter", showFirst);
  onPaging("next", () => showList(next, [...before, here]));
  onPaging("previous", () => showList(before.at(-1), before.slice(0, -1)));
  byId("confirm-cancel").addEventListener("click", () => byId("confirm").close(""));
  showFirst();
}

function onSubmit(id, action) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    action();
  });
}

/// A click while a page is on its way is of no use.
function onPaging(id, action) {
  byId(id).addEventListener("click", () => byId("list").hasAttribute("aria-busy") || action());
}

/// Offers the host types of the node: to add only those that the database may use there.
export function offerHostTypes(hostTypes) {
  const names = hostTypes.map(({ host_type }) => host_type);
  const allowed = hostTypes.filter((each) => each.allowed).map(({ host_type }) => host_type);
  offer(byId("filter-host-type"), [["", "any"], ...names.map((name) => [name, name])]);
  offer(byId("add-host-type"), [["", "host type"], ...allowed.map((name) => [name, name])]);
}

function offer(select, options) {
  const chosen = select.value;
  if (JSON.stringify(options) === select.dataset.options) return;
  select.dataset.options = JSON.stringify(options);
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  if (options.some(([value]) => value === chosen)) select.value = chosen;
}

/// Shows the list as it is now, after changes that were not made here.
export const showChanges = () => {
  changed();
  return showList(here, before);
};

/// The node answers again.
export const recovered = () => (listFailed ? showList(here, before) : undefined);

// Messages

function say(mood, ...parts) {
  byId("said").className = mood;
  byId("said").replaceChildren(...parts);
}

const complain = (failure, ...parts) => say("error", ...parts, failure.message);

// One domain

const pathOf = (domain) => `api/domains/${encodeURIComponent(domain)}`;

async function lookUp(domain) {
  try {
    showFound(await request("GET", pathOf(domain)));
    say("", nameOf(found.domain), " exists: ", found.status, ".");
  } catch (failure) {
    showFound(null);
    complain(failure, nameOf(domain), ": ");
  }
}

function showFound(details) {
  found = details;
  byId("found").replaceChildren(...(details ? [
    element("dl", { class: "counts" },
      element("dt", {}, "Domain"), element("dd", {}, nameOf(details.domain)),
      element("dt", {}, "Host type"), element("dd", {}, nameOf(details.host_type)),
      element("dt", {}, "Status"), element("dd", {}, statusOf(details))),
    element("div", { class: "line" }, ...changesOf(details)),
  ] : []));
}

const statusOf = ({ status, type, routable }) => element("span", { class: status },
  [status, type === "static" && "static", routable === false && "never routes"].filter(Boolean).join(", "));

/// The buttons for a domain, or why there are none.
function changesOf(details) {
  if (details.type === "static") return [element("span", { class: "note" }, WHY_STATIC)];
  if (details.status === "deleting") {
    return [element("span", { class: "note" }, "Being removed; retried until it is done.")];
  }
  const button = (text, action, attributes) => element("button",
    { type: "button", "aria-label": `${text} ${details.domain}`, click: action, ...attributes }, text);
  const removal = button("Remove", () => remove(details), { class: "danger" });
  if (details.routable === false) return [element("span", { class: "note" }, WHY_NEVER), removal];
  return [
    details.enabled ? button("Disable", () => disable(details)) : button("Enable", () => enable(details)),
    removal,
  ];
}

// Changes

async function add() {
  const domain = byId("add-name").value.trim();
  const host_type = byId("add-host-type").value;
  try {
    await request("PUT", pathOf(domain), { host_type });
    // It may have been there before: a disabled one stays disabled. So say what it is now.
    showFound(await request("GET", pathOf(domain)));
    byId("add-name").value = "";
    say("good", nameOf(found.domain), " is in the database: ", found.status, ".");
  } catch (failure) {
    complain(failure, nameOf(domain), " was not added. ");
  }
  await refresh();
}

const enable = (details) => change(details, "enabled", () =>
  request("PATCH", pathOf(details.domain), { enabled: true }));

async function disable(details) {
  if (await confirmed(details, "Disable", "will not route until it is enabled again. Its data stays.")) {
    await change(details, "disabled", () =>
      request("PATCH", pathOf(details.domain), { enabled: false }));
  }
}

// The removal is requested, not waited for: it takes as long as the data of the domain, and goes on
// when this page is closed. A sidecar has to wait for the node that does it.
async function remove(details) {
  const { domain, host_type } = details;
  if (await confirmed(details, "Remove",
    "will be removed with all its data: users, rosters, messages. This cannot be undone.", true)) {
    const requested = await change(details, "marked for removal: it no longer routes, its data is being removed",
      () => request("DELETE", pathOf(domain), { host_type, request: true }, 130));
    if (requested) await seeRemoved(domain);
  }
}

async function change({ domain }, done, send) {
  try {
    await send();
    say("good", nameOf(domain), ` is ${done}.`);
    return true;
  } catch (failure) {
    complain(failure, nameOf(domain), " was not changed. ");
    return false;
  } finally {
    const place = document.activeElement.closest("#found, #rows");
    await refresh();
    focusAgain(place, domain);
  }
}

/// Follows a removal to its end, for some minutes.
async function seeRemoved(domain) {
  for (let wait = 500; wait < 60000; wait *= 1.5) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    const failure = await request("GET", pathOf(domain)).then(() => null, (failure) => failure);
    if (failure?.status === 404) {
      say("good", nameOf(domain), " was removed.");
      return refresh();
    }
  }
}

/// Shows what there is after a change.
async function refresh() {
  if (found) {
    const { domain } = found;
    try {
      const details = await request("GET", pathOf(domain));
      if (found?.domain === domain) showFound(details);
    } catch {
      if (found?.domain === domain) showFound(null);
    }
  }
  await showChanges();
}

/// Asks a person, who has to type the name where nothing brings the domain back.
function confirmed({ domain }, verb, consequence, typed = false) {
  const dialog = byId("confirm");
  const name = byId("confirm-name");
  byId("confirm-title").replaceChildren(`${verb} `, nameOf(domain), "?");
  byId("confirm-text").replaceChildren(nameOf(domain), ` ${consequence}`);
  byId("confirm-yes").textContent = verb;
  byId("confirm-typed").hidden = !typed;
  name.value = "";
  const check = () => name.setCustomValidity(
    !typed || name.value.trim() === domain ? "" : `Please type ${domain}`);
  name.oninput = check;
  check();
  dialog.returnValue = "";
  dialog.showModal();
  (typed ? name : byId("confirm-cancel")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// The list

/// Shows the first page by the filters that a person has chosen now.
function showFirst() {
  filters = ["host_type", "status"]
    .map((name) => [name, byId(`filter-${name.replace("_", "-")}`).value])
    .filter(([, value]) => value !== "");
  byId("export").href = `api/export?${new URLSearchParams([["format", "csv"], ...filters])}`;
  return showList(null, []);
}

/// Shows the page after this name (null: the first), and remembers those before it.
async function showList(after, pages) {
  const load = ++loads;
  [before, here] = [pages, after];
  const query = new URLSearchParams([...filters, ["limit", PAGE]]);
  if (after !== null) query.set("after", after);
  byId("list").setAttribute("aria-busy", "true");
  const answer = await request("GET", `api/domains?${query}`).catch((failure) => ({ failure }));
  if (load !== loads) return;
  byId("list").removeAttribute("aria-busy");
  listFailed = "failure" in answer;
  byId("page").className = listFailed ? "error" : "";
  if (listFailed) {
    put(byId("page"), `The list could not be read. ${answer.failure.message}`);
  } else {
    byId("rows").replaceChildren(...answer.domains.map(row));
    put(byId("page"), pageText(answer.domains.length));
  }
  next = answer.next ?? null;
  setPageButtons();
}

const pageText = (number) => number === 0 && before.length === 0 ? "There is no such domain."
  : `Page ${before.length + 1}: ${number} domain${number === 1 ? "" : "s"}.`;

function setPageButtons() {
  const focused = document.activeElement;
  byId("previous").disabled = before.length === 0;
  byId("next").disabled = next === null;
  // A disabled button would keep the focus, and no key would do anything.
  if (focused.disabled) byId(focused.id === "next" ? "previous" : "next").focus();
}

const row = (details) => element("tr", { role: "row" },
  element("th", { role: "rowheader", scope: "row" }, nameOf(details.domain)),
  element("td", { role: "cell" }, nameOf(details.host_type)),
  element("td", { role: "cell" }, statusOf(details)),
  element("td", { role: "cell", class: "line" }, ...changesOf(details)));

/// After a change the buttons are new ones: the focus goes to that of the domain, or else to all.
function focusAgain(place, domain) {
  if (place === null || document.activeElement !== document.body) return;
  const button = [...place.querySelectorAll("button")]
    .find((each) => each.getAttribute("aria-label").endsWith(` ${domain}`));
  (button ?? byId("domains")).focus({ preventScroll: true });
}
