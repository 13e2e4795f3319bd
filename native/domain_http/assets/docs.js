// Shows the OpenAPI 3.1 document of this node: operations with their parameters, bodies and answers,
// and the schemas.

import { byId, element, request } from "./page.js";

const METHODS = ["get", "put", "post", "patch", "delete"];

function show(api) {
  byId("title").textContent = api.info.title;
  byId("version").textContent = `version ${api.info.version}`;
  byId("description").append(...marked(api.info.description ?? ""));
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({
      path, method, id: `${method}:${path}`, ...item[method],
      parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])],
    })));
  byId("contents").append(...operations.map((each) => element("li", {},
    element("a", { href: `#${encodeURIComponent(each.id)}` }, ...title(each)),
    " ", element("span", { class: "note" }, ...marked(each.summary ?? "")))));
  byId("operations").append(...operations.map(operation));
  byId("schemas").append(...Object.entries(api.components?.schemas ?? {}).map(([name, schema]) =>
    element("section", { class: "panel operation", id: anchor(name) },
      element("h3", {}, name), ...text(schema.description), shape(schema), ...examplesOf(schema))));
  // The target was not there when the page was opened.
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

const anchor = (name) => `schema:${name}`;
const title = ({ method, path }) =>
  [element("span", { class: "method" }, method.toUpperCase()), ` ${path}`];
const text = (words) => (words ? [element("p", { class: "text" }, ...marked(words))] : []);
/// Text with `code` in it, as Rust's comments have it.
const marked = (words) => words.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));

function operation(each) {
  return element("section", { class: "panel operation", id: each.id },
    element("h3", {}, ...title(each)),
    ...text(each.summary), ...text(each.description === each.summary ? "" : each.description),
    ...(each.parameters.length ? [element("h4", {}, "Parameters"), parameters(each.parameters)] : []),
    ...(each.requestBody
      ? [element("h4", {}, "Body"), ...text(each.requestBody.description), ...content(each.requestBody)]
      : []),
    element("h4", {}, "Answers"), answers(each.responses ?? {}));
}

function parameters(all) {
  return table(["Name", "In", "Type", "Meaning"], all.map((each) => [
    element("code", {}, each.name), `${each.in}${each.required ? ", required" : ""}`,
    type(each.schema ?? {}),
    element("span", {}, ...marked(each.description ?? ""), ...examplesOf(each),
      ...examplesOf(each.schema ?? {})),
  ]));
}

function answers(responses) {
  return table(["Code", "Meaning"], Object.entries(responses).map(([code, each]) =>
    [code, element("div", {}, ...marked(each.description ?? ""), ...content(each))]));
}

function table(heads, rows) {
  return element("table", {},
    element("thead", {}, element("tr", {},
      ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.map(([first, ...others]) => element("tr", {},
      element("th", { scope: "row" }, first), ...others.map((cell) => element("td", {}, cell))))));
}

const content = ({ content }) => Object.entries(content ?? {}).flatMap(([media, each]) => [
  element("div", {}, element("code", {}, media), " ", ...(each.schema ? [shape(each.schema)] : [])),
  ...examplesOf(each),
]);

function examplesOf({ example, examples }) {
  const several = Array.isArray(examples) ? examples
    : Object.values(examples ?? {}).map((each) => each.value);
  return [example, ...several].filter((each) => each !== undefined).map((each) =>
    element("pre", { "aria-label": "Example" },
      typeof each === "string" ? each : JSON.stringify(each, null, 2)));
}

/// A schema: its type, or for an object of its own a table of its fields.
function shape(schema) {
  if (!schema.properties) return type(schema);
  const required = schema.required ?? [];
  return table(["Field", "Type", "Meaning"], Object.entries(schema.properties).map(([name, each]) => [
    element("code", {}, name),
    element("span", {}, type(each), required.includes(name) ? "" : ", optional"),
    element("div", {}, ...marked(each.description ?? ""), ...(each.properties ? [shape(each)] : []),
      ...examplesOf(each)),
  ]));
}

/// A schema in a few words; others are links.
function type(schema) {
  return element("span", {}, ...words(schema));
}

function words(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return [element("a", { href: `#${encodeURIComponent(anchor(name))}` }, name)];
  }
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  if ("const" in schema) return [JSON.stringify(schema.const)];
  for (const [kind, joint] of [["oneOf", " | "], ["anyOf", " | "], ["allOf", " & "]]) {
    if (schema[kind]) return schema[kind].flatMap((each, at) => [at ? joint : "", type(each)]);
  }
  const kinds = [schema.type ?? "any"].flat();
  return kinds.flatMap((kind, at) => [at ? " | " : "", ...ofKind(kind, schema)]);
}

function ofKind(kind, schema) {
  if (kind === "array" && schema.items) return ["array of ", type(schema.items)];
  if (kind === "object" && typeof schema.additionalProperties === "object") {
    return ["map of string to ", type(schema.additionalProperties)];
  }
  if (kind === "object" && schema.properties) {
    return [`{${Object.keys(schema.properties).join(", ")}}`];
  }
  const bounds = kind === "null" ? "" : [
    schema.minimum !== undefined ? `≥ ${schema.minimum}` : "",
    schema.maximum !== undefined ? `≤ ${schema.maximum}` : "",
    schema.default !== undefined ? `default ${JSON.stringify(schema.default)}` : "",
  ].filter(Boolean).join(", ");
  return [bounds ? `${kind} (${bounds})` : kind];
}

request("GET", "api/openapi.json").then(show).catch((failure) => {
  byId("failure").textContent = failure.message;
});
