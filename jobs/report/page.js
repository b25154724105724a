// The tables, the details of runs, links into both, charts, and CSV. Text of others is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const parsed = (id) => JSON.parse($(id).textContent);
const DATA = parsed("data");
const PRINTED_ROWS = 50;
const DETAILS = [
  ["Results", /^(final_|at_best_valid_|epochs_to_target$|stop\.)/],
  ["Hyperparameters", /^(hyperparameters|regime|setting|epochs|batch_size|init|protocol|problem_class|optimizer_class)$/],
  ["Cost", /^cost\./],
  ["Provenance", /^provenance\./],
];

// --- packed tables: each distinct value of a column is there once

function unpacked(table) {
  const columns = table.columns.map((column) => ({ ...column, get: reader(column) }));
  return { rows: table.rows, columns, by: Object.fromEntries(columns.map((one) => [one.name, one.get])) };
}

function reader(column) {
  if ("same" in column) return () => column.same;
  if ("all" in column) return (row) => column.all[row];
  return (row) => column.of[column.at[row]];
}

const TABLES = Object.fromEntries(
  ["runs", "cells", "comparisons"].map((name) => [name, unpacked(DATA[name])]));
const RUNS = TABLES.runs.by;
const ROW_OF_RUN = new Map();
for (let row = 0; row < TABLES.runs.rows; row++) ROW_OF_RUN.set(RUNS.run(row), row);

function spelled(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") {
    if (Number.isInteger(value)) return String(value);
    const size = Math.abs(value);
    return size < 1e-3 || size >= 1e6 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function readable(url) {
  try {
    return decodeURIComponent(url);
  } catch {
    return url; // it is not of UTF-8
  }
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// --- tables

function measured(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return spelled(value);
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(3) : value.toPrecision(4);
}

function cellOf(table, column) {
  return (_, type, { row }) => {
    const value = column.get(row);
    if (type === "sort" || type === "type") return value;
    // DataTables makes markup of a text with an "&", to decode it
    if (type !== "display") return spelled(value).replace(/[&<]/g, (sign) => `&#${sign.charCodeAt(0)};`);
    if (column.kind === "run") return element("a", value, { href: `#run-${value}`, class: "run" });
    if (column.kind === "runs") {
      const role = table.by.role(row);
      const more = { href: `#cell-${table.by.cell(row)}-${role}`, title: "show its runs" };
      return element("a", spelled(value), more);
    }
    const text = element("span", column.kind === "number" ? measured(value) : spelled(value));
    if (column.name === "outcome") text.className = `outcome ${value}`;
    return text;
  };
}

function drawn(name, order) {
  const table = TABLES[name];
  const shown = table.columns.filter((column) => column.title);
  const made = new DataTable(`#${name}-table`, {
    data: Array.from({ length: table.rows }, (_, row) => ({ row })),
    columns: shown.map((column) => ({
      data: null,
      title: column.title.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`),
      type: column.kind === "number" || column.kind === "runs" ? "num" : "string",
      className: column.kind === "number" || column.kind === "runs" ? "dt-right" : "",
      render: cellOf(table, column),
    })),
    order,
    autoWidth: false,
    orderClasses: false,
    deferRender: true,
    pageLength: 25,
    lengthMenu: [10, 25, 100, 1000],
    layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
    language: {
      thousands: ",", search: "Search", lengthMenu: "_MENU_ a page", info: "_START_ to _END_ of _TOTAL_",
      infoEmpty: "none", infoFiltered: "(of _MAX_)", zeroRecords: "none is like that", emptyTable: "none",
    },
  });
  filters(name, made, shown);
  return made;
}

function filters(name, made, shown) {
  const names = ["problem", "optimizer", "role", "outcome", "stands_for_optimizer", "sweep"];
  const table = TABLES[name];
  for (const column of shown.filter((one) => names.includes(one.name))) {
    const values = new Set();
    for (let row = 0; row < table.rows; row++) values.add(spelled(column.get(row)));
    if (values.size < 2) continue;
    const select = element("select", "");
    select.append(new Option("all", ""));
    [...values].forEach((value, index) => select.append(new Option(value || "(none)", String(index + 1))));
    const list = [...values];
    select.addEventListener("change", () => {
      const wanted = select.value === "" ? null : list[Number(select.value) - 1];
      const key = `of ${column.name}`;
      made.search.fixed(key, wanted === null ? null
        : (_, { row }) => spelled(column.get(row)) === wanted).draw();
    });
    const label = element("label", `${column.title} `);
    label.append(select);
    $(`${name}-filters`).append(label);
  }
}

const CELLS = drawn("cells", []);
const RUN_TABLE = drawn("runs", []);

// --- links: #runs-N is a group of runs, #cell-ID-ROLE a cell's, #run-ID a run's details

let beneath = "#runs"; // the address under the details of a run

function followed() {
  const address = readable(location.hash.slice(1));
  let match;
  if ((match = /^run-(.+)$/.exec(address)) && ROW_OF_RUN.has(match[1])) return opened(match[1]);
  beneath = location.hash;
  if ($("run").open) $("run").close();
  if ((match = /^runs-(\d+)$/.exec(address)) && DATA.groups[match[1]]) {
    const group = DATA.groups[match[1]];
    const rows = new Set(group.rows);
    return grouped(group.title, (row) => rows.has(row));
  }
  if ((match = /^cell-([0-9a-f]+)-(\w+)$/.exec(address))) {
    const isOf = (row) => RUNS.cell(row) === match[1] && RUNS.role(row) === match[2];
    const first = Array.from({ length: TABLES.runs.rows }, (_, row) => row).find(isOf);
    if (first === undefined) return undefined;
    const words = [RUNS.problem(first), RUNS.optimizer(first), RUNS.setting?.(first)];
    return grouped(words.filter(Boolean).join(" "), isOf);
  }
  if (address === "runs") grouped(null, null);
  return undefined;
}

$("group").querySelector("a").addEventListener("click", () => grouped(null, null));

function grouped(title, isOf) {
  RUN_TABLE.search.fixed("group", isOf === null ? null : (_, { row }) => isOf(row)).draw();
  $("group").hidden = isOf === null;
  if (isOf === null) return;
  const count = RUN_TABLE.rows({ search: "applied" }).count();
  $("group").firstElementChild.textContent = `Only these ${count} runs: ${title}`;
  $("runs").scrollIntoView();
  $("runs").focus({ preventScroll: true });
}

// --- the details of a run

function opened(id) {
  const row = ROW_OF_RUN.get(id), dialog = $("run"), origin = DATA.origins[RUNS.sweep(row)];
  const isRecorded = ["completed", "diverged"].includes(RUNS.outcome(row));
  const title = [RUNS.problem(row), RUNS.optimizer(row), RUNS.setting?.(row), `seed ${RUNS.seed(row)}`];
  dialog.replaceChildren(
    element("button", "Close", { type: "button", class: "close" }),
    element("p", `run ${id}`, { class: "kind" }),
    element("h2", title.filter(Boolean).join(" "), { id: "run-title" }),
    element("p", isRecorded ? RUNS.outcome(row) : standing(row), { class: `outcome ${RUNS.outcome(row)}` }),
    ...(origin ? leading(origin, id, isRecorded) : []));
  if (RUNS.log?.(row)) {
    dialog.append(element("h3", "The end of its log"), element("pre", RUNS.log(row), { tabindex: "0" }));
  }
  for (const [heading, names] of DETAILS) dialog.append(...section(heading, names, row));
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function standing(row) {
  const told = ["state", "state.failure", "state.message", "state.evidence"].map((name) => RUNS[name]?.(row));
  return [...new Set(told.filter(Boolean))].join(": ");
}

function leading(origin, id, isRecorded) {
  const around = ([before, after]) => before + id + after;
  const found = [];
  if (isRecorded) {
    const line = element("p", "Record: ");
    line.append(element("a", readable(around(origin.record)), { href: around(origin.record) }));
    found.push(line);
  }
  const commands = [["what became of it", origin.why],
    isRecorded ? ["run it again", origin.redo] : ["send it", origin.send]];
  const list = element("dl", "", { class: "commands" });
  for (const [what, words] of commands) {
    const value = element("dd", "");
    value.append(element("code", around(words)));
    list.append(element("dt", what), value);
  }
  return [...found, list];
}

function section(heading, names, row) {
  const list = element("dl", "", { class: "details" });
  for (const column of TABLES.runs.columns.filter((one) => names.test(one.name))) {
    for (const [name, value] of parts(column.name, column.get(row))) {
      list.append(element("dt", name), element("dd", spelled(value)));
    }
  }
  return list.childElementCount ? [element("h3", heading), list] : [];
}

function parts(name, value) {
  if (value === null || value === "") return [];
  const short = name.replace(/^(provenance|cost)\./, "");
  if (name === "hyperparameters" || name === "regime") return Object.entries(JSON.parse(value));
  return [[short.replaceAll(/[_.]/g, " "), value]];
}

$("run").addEventListener("close", () => {
  if (location.hash.startsWith("#run-")) history.replaceState(null, "", beneath || "#runs");
});
$("run").addEventListener("click", (event) => {
  if (event.target === $("run")) $("run").close(); // beside it
});

// --- CSV, copies, charts, paper

function csv(table) {
  const quoted = (value) => {
    const text = value === null || value === undefined ? ""
      : typeof value === "object" ? JSON.stringify(value) : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [table.columns.map((column) => quoted(column.name)).join(",")];
  for (let row = 0; row < table.rows; row++) {
    lines.push(table.columns.map((column) => quoted(column.get(row))).join(","));
  }
  return lines.join("\n") + "\n";
}

for (const button of document.querySelectorAll("button.save")) {
  button.addEventListener("click", () => {
    const name = button.dataset.table;
    const url = URL.createObjectURL(new Blob([csv(TABLES[name])], { type: "text/csv" }));
    element("a", "", { href: url, download: `${name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents($(button.dataset.of));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    $("said").textContent = document.execCommand("copy") ? "Copied." : "Press Ctrl+C to copy.";
  });
}

async function charted() {
  const specs = parsed("specs");
  for (const place of document.querySelectorAll(".chart")) {
    await new Promise((resolve) => setTimeout(resolve)); // the page answers in between
    await vegaEmbed(place, specs[place.dataset.chart], {
      ast: true, renderer: "svg", logLevel: 1, // without eval, sharp on paper, errors alone
      actions: { export: true, source: false, compiled: false, editor: false },
    });
  }
  document.body.dataset.charts = "drawn";
}

let before = [];
addEventListener("beforeprint", () => {
  before = [RUN_TABLE, CELLS].map((table) => table.page.len());
  [RUN_TABLE, CELLS].forEach((table) => table.page.len(PRINTED_ROWS).draw(false));
  document.querySelectorAll("details:not([open])").forEach((one) => {
    one.open = true;
    one.dataset.closed = "";
  });
});
addEventListener("afterprint", () => {
  [RUN_TABLE, CELLS].forEach((table, index) => table.page.len(before[index]).draw(false));
  document.querySelectorAll("details[data-closed]").forEach((one) => {
    one.open = false;
    delete one.dataset.closed;
  });
});

addEventListener("hashchange", followed);
followed();
document.body.dataset.ready = "";
if (globalThis.vegaEmbed) charted();
