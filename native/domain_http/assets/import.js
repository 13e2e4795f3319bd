// Imports a file, in requests of as many records as the server writes at a time: first as a dry run,
// then in earnest. What a record says is the server's to judge; here are its bounds, as the server finds
// them (native/domain_records), comments, and the heading, which goes with each request.

import { byId, count, counted, element, Failure, send } from "./page.js";

/// The records of a request are one transaction. The server reads the whole request before it answers
/// more than the buffers on the way can hold, and proxies take that many bytes by default.
const RECORDS = 1000;
const BYTES = 128 * 1024;
/// The server takes no longer ones.
const LONGEST_RECORD = 16 * 1024;
/// So many rejected records are shown, and kept for the file.
const SHOWN = 10;
const KEPT = 100000;

const CSV = { type: "text/csv", ending: "csv" };
const NDJSON = { type: "application/x-ndjson", ending: "ndjson" };
const [LF, CR, QUOTE, COMMA, BRACE] = [..."\n\r\",{"].map((char) => char.charCodeAt(0));
const BOM = [0xef, 0xbb, 0xbf];
/// A blank line, or a comment: # alone, or with a blank behind it.
const PASSED_OVER = /^[ \t\f]*(#?[ \t\f]*$|# )/;
/// A character for each byte.
const LATIN1 = new TextDecoder("latin1");

let stopped = false;

export function startImports(onChange) {
  byId("import-form").addEventListener("submit", (event) => {
    event.preventDefault();
    run(true);
  });
  byId("import-run").addEventListener("click", () => run(false).then(onChange));
  byId("import-stop").addEventListener("click", () => (stopped = true));
  byId("import-file").addEventListener("change", () => {
    byId("import-run").disabled = true;
    showRejected({ rejected: [] });
    say("", "");
  });
}

async function run(isTrial) {
  const [file] = byId("import-file").files;
  const work = { isTrial, file, bytes: 0, rejected: [],
    counts: { records: 0, added: 0, changed: 0, unchanged: 0, rejected: 0 } };
  setRunning(true);
  say("", "");
  let failure = null;
  try {
    for await (const request of requests(file)) {
      if (stopped) break;
      await sendOne(request, work);
      byId("import-progress").value = request.bytes / file.size;
    }
  } catch (error) {
    failure = error instanceof Failure ? error : new Failure(0, `${file.name} cannot be read: ${error.message}`);
  }
  setRunning(false);
  const isWhole = !failure && !stopped;
  byId("import-run").disabled = isTrial ? !isWhole || work.counts.records === 0 : isWhole;
  showRejected(work);
  say(failure ? "error" : work.counts.rejected ? "warning" : "good", summary(work, failure));
}

function setRunning(isRunning) {
  stopped = isRunning ? false : stopped;
  for (const id of ["import-file", "import-try", "import-run"]) byId(id).disabled = isRunning;
  for (const id of ["import-stop", "import-progress"]) byId(id).hidden = !isRunning;
  byId("import-progress").value = 0;
}

function say(mood, text) {
  byId("imported").className = mood;
  byId("imported").textContent = text;
}

function summary({ isTrial, counts, rejected }, failure) {
  const { records, added, changed, unchanged } = counts;
  const done = isTrial ? "would be " : "";
  return [
    failure ? `${failure.message} ` : stopped ? "Stopped. " : "",
    `${counted(records, "record")}: ${count(added)} ${done}added, ${count(changed)} ${done}changed, `,
    `${count(unchanged)} ${isTrial ? "are" : "were"} there already, ${count(counts.rejected)} ${done}rejected.`,
    isTrial ? " Nothing is changed yet." : failure || stopped ? " Import the file again to go on." : "",
    counts.rejected > KEPT ? ` Only the first ${count(KEPT)} rejected records are kept.` : "",
  ].join("");
}

// Requests

/// One request, and what became of its records.
async function sendOne({ format, heading, body, records }, work) {
  Object.assign(work, { format, heading });
  const query = work.isTrial ? "?dry_run=true" : "";
  // The node tries for a while when its database is away.
  const answer = await send("POST", `api/import${query}`, body, format.type, 120);
  const lines = answer.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  const last = lines.at(-1) ?? {};
  const { counts } = work;
  const progress = last.done ?? lines.findLast((line) => line.progress)?.progress;
  for (const key of ["added", "changed", "unchanged", "rejected"]) counts[key] += progress?.[key] ?? 0;
  for (const { rejected } of lines.filter((line) => line.rejected)) {
    const record = records.get(rejected.line);
    if (!record) {
      const { line } = records.values().next().value;
      throw new Failure(0, `the node finds other records than this page after line ${line}: ` +
        "import the file with mongoose-domainctl");
    }
    // A copy, so that not all of the file stays in memory.
    const kept = { line: record.line, bytes: record.bytes.slice(), reason: rejected.reason };
    if (work.rejected.length < KEPT) work.rejected.push(kept);
  }
  if (last.error) throw new Failure(500, last.error.what);
  if (!last.done) throw new Failure(0, "the answer of the node was cut off");
  counts.records += records.size;
}

/// The records of a file by requests: the body, the records by the number of their line in it, and how
/// many bytes of the file are read then.
async function* requests(file) {
  let heading = null;
  let isFirst = true;
  let request = null;
  let format = null;
  for await (const record of recordsOf(file)) {
    format ??= record.format;
    const isHeading = isFirst && format === CSV && looksLikeHeading(record.bytes);
    isFirst = false;
    if (isHeading) {
      heading = record;
      continue;
    }
    request ??= begun(format, heading);
    request.records.set(request.lines + 1, record);
    request.lines += linesIn(record.bytes);
    request.size += record.bytes.length + 1;
    request.parts.push(record.bytes, "\n");
    if (request.records.size >= RECORDS || request.size >= BYTES) {
      yield ended(request, record.end);
      request = null;
    }
  }
  if (request) yield ended(request, file.size);
}

const begun = (format, heading) => ({ format, heading, records: new Map(),
  lines: heading ? linesIn(heading.bytes) : 0, size: 0, parts: heading ? [heading.bytes, "\n"] : [] });

const ended = ({ parts, ...request }, bytes) => ({ ...request, body: new Blob(parts), bytes });

/// Does the record name columns?
function looksLikeHeading(bytes) {
  const names = new TextDecoder().decode(bytes).split(",")
    .map((name) => name.replaceAll('"', "").trim().toLowerCase());
  return names.includes("domain") && names.includes("host_type");
}

// Records

/// The records of a file that are neither blank nor a comment: their bytes without the line's end, the
/// number of their first line, and where they end in the file.
async function* recordsOf(file) {
  let format = null;
  let rest = new Uint8Array();
  let [line, end] = [1, 0];
  const reader = file.stream().getReader();
  for (let isLast = false; !isLast;) {
    const { done, value } = await reader.read();
    isLast = done;
    const bytes = done ? rest : joined(rest, value);
    let start = end === 0 && BOM.every((byte, at) => bytes[at] === byte) ? BOM.length : 0;
    for (;;) {
      const first = endOfLine(bytes, start, isLast);
      const text = first && bytes.subarray(start, first.end);
      const isPassedOver = first && PASSED_OVER.test(LATIN1.decode(text));
      if (first && !isPassedOver) format ??= text.find((byte) => byte > 0x20) === BRACE ? NDJSON : CSV;
      const isLine = !first || isPassedOver || format === NDJSON;
      const stop = isLine ? first : endOfRecord(bytes, start, first, isLast);
      const length = (stop?.end ?? bytes.length) - start;
      if (length > LONGEST_RECORD) {
        throw new Failure(0, `line ${line} is too long: is a quotation mark not closed?`);
      }
      if (stop === null) break;
      const record = bytes.subarray(start, stop.end);
      if (!isPassedOver) yield { format, bytes: record, line, end: end + stop.next };
      line += linesIn(record);
      start = stop.next;
    }
    rest = bytes.slice(start);
    end += start;
  }
}

function joined(first, second) {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}

/// Where the line that begins here ends, and where the next one begins; null: not in these bytes.
function endOfLine(bytes, start, isLast) {
  let end = start;
  while (end < bytes.length && bytes[end] !== LF && bytes[end] !== CR) end++;
  if (end === bytes.length) return isLast && start < end ? { end, next: end } : null;
  // The next byte may be the other half of this end.
  if (bytes[end] === CR && end + 1 === bytes.length && !isLast) return null;
  return { end, next: bytes[end] === CR && bytes[end + 1] === LF ? end + 2 : end + 1 };
}

/// The same for a record of CSV. A field that begins with a quotation mark goes on to the next single
/// one, over the ends of lines. If that does not come, or a quotation mark stands where none may, the
/// record is its first line.
function endOfRecord(bytes, start, first, isLast) {
  let [isQuoted, isFieldStart, isClean] = [false, true, true];
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isQuoted) {
      if (byte === QUOTE) {
        if (bytes[at + 1] === QUOTE) at++;
        else {
          isQuoted = false;
          isClean &&= [COMMA, LF, CR, undefined].includes(bytes[at + 1]);
        }
      }
    } else if (byte === LF || byte === CR) {
      return isClean ? endOfLine(bytes, at, isLast) : first;
    } else {
      isQuoted = isFieldStart && byte === QUOTE;
      isClean &&= isQuoted || byte !== QUOTE;
      isFieldStart = byte === COMMA;
    }
  }
  if (!isLast) return null;
  return isClean && !isQuoted ? { end: bytes.length, next: bytes.length } : first;
}

/// How many lines a record takes.
function linesIn(bytes) {
  let lines = 1;
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] === LF || (bytes[at] === CR && bytes[at + 1] !== LF)) lines++;
  }
  return lines;
}

// Rejected records

function showRejected({ rejected, format, heading }) {
  byId("import-rejected").replaceChildren(...rejected.slice(0, SHOWN).map(({ line, bytes, reason }) =>
    element("li", {}, `Line ${count(line)}: ${reason}: `,
      element("bdi", { class: "name" }, new TextDecoder().decode(bytes)))));
  const link = byId("import-rejects");
  if (link.href) URL.revokeObjectURL(link.href);
  link.hidden = rejected.length === 0;
  link.removeAttribute("href");
  if (rejected.length === 0) return;
  link.download = `rejected.${format.ending}`;
  link.href = URL.createObjectURL(new Blob(rejectedFile(rejected, heading)));
}

/// Each record behind a comment that says why, to be corrected and imported: as mongoose-domainctl
/// writes it.
function rejectedFile(rejected, heading) {
  return [...(heading ? [heading.bytes, "\n"] : []), ...rejected.flatMap(({ line, bytes, reason }) =>
    [`# line ${line}: ${reason.replaceAll(/\s+/g, " ")}\n`, bytes, "\n"])];
}
