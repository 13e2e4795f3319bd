// Draws the lag of the last 15 minutes. The caption says the same in words.

import { byId, counted, element, seconds } from "./page.js";

const SPAN = 900;
const HEIGHT = 100;
/// Samples come every 5 seconds; a line does not go over a longer hole.
const HOLE = 12;

export function drawLag(history) {
  draw(byId("lag-events"), "Events not applied yet", history,
    (sample) => sample.lag, (lag) => counted(lag, "event"));
  draw(byId("lag-seconds"), "Seconds behind", history,
    (sample) => sample.lag_seconds, seconds);
}

function draw(figure, title, history, valueOf, words) {
  const id = `${figure.id}-caption`;
  const known = history.filter((sample) => valueOf(sample) !== null);
  const top = roundUp(Math.max(1, ...known.map(valueOf)));
  const picture = svg("svg", {
    viewBox: `0 0 ${SPAN} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-labelledby": id,
  },
  ...[0, HEIGHT / 2, HEIGHT].map((y) => svg("path", { class: "grid", d: `M0 ${y}H${SPAN}` })),
  ...history.filter((sample) => valueOf(sample) === null).map((sample) =>
    svg("rect", { class: "unknown", x: SPAN - sample.seconds_ago, y: 0, width: 5, height: HEIGHT })),
  svg("path", { class: "curve", d: curve(history, valueOf, top) }));
  figure.replaceChildren(
    element("figcaption", { id },
      element("strong", {}, title), " ",
      element("span", { class: "note" }, summary(history, known, valueOf, words))),
    element("div", { class: "chart" },
      element("span", { class: "top", "aria-hidden": "true" }, top.toLocaleString("en")),
      element("span", { class: "zero", "aria-hidden": "true" }, "0"),
      picture),
    element("div", { class: "times", "aria-hidden": "true" },
      ...["15 min ago", "10", "5", "now"].map((time) => element("span", {}, time))));
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function curve(history, valueOf, top) {
  let path = "";
  let before = null;
  for (const sample of history) {
    const value = valueOf(sample);
    if (value !== null) {
      const joined = before !== null && before - sample.seconds_ago < HOLE;
      const point = `${SPAN - sample.seconds_ago} ${HEIGHT - (value / top) * HEIGHT}`;
      // A single sample becomes a dot.
      path += joined ? `L${point}` : `M${point}h0`;
    }
    before = value === null ? null : sample.seconds_ago;
  }
  return path;
}

/// To 1, 2 or 5 times a power of ten.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

function summary(history, known, valueOf, words) {
  if (known.length === 0) return "Not known for the last 15 minutes.";
  const last = valueOf(history.at(-1));
  const highest = known.reduce((most, sample) => (valueOf(sample) >= valueOf(most) ? sample : most));
  const unknown = (history.length - known.length) * 5;
  return [
    `Now ${last === null ? "not known" : words(last)};`,
    valueOf(highest) > 0
      ? `at most ${words(valueOf(highest))}, ${seconds(highest.seconds_ago)} ago.`
      : "not more at any time shown.",
    unknown ? `Not known for ${seconds(unknown)} (grey).` : "",
  ].join(" ");
}
