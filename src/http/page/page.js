"use strict";
// Shows what the daemon tells, and gives orders that a person has confirmed. Names and keys are strangers' text: everything is put in as
// text nodes. The token lives in this variable and nowhere else.
let token = null;

const $ = id => document.getElementById(id);
const PHASES = ["setup", "backfill", "dual-write", "validate", "switch", "cleanup", "done"];
const SILENCE_MAX = 3500, SAMPLES = 300;
const MOVES = {
  validate: { to: "validate", name: "Validate" },
  switch: { to: "switch", name: "Switch writes to PostgreSQL" },
  rollback: { to: "dual-write", name: "Roll back" },
  cleanup: { to: "cleanup", name: "Clean up" },
};
const state = { status: null, heard: 0, samples: [], tab: null, picked: false, waiting: null, sliding: false, doing: null };

function put(node, ...children) { node.replaceChildren(...children.flat(Infinity).filter(child => child !== null && child !== undefined)); return node; }
function el(name, traits, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(traits || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) node.setAttribute(key, value === true ? "" : value);
  }
  return put(node, children);
}
function svg(name, traits) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(traits)) node.setAttribute(key, value);
  return node;
}

// What stands between backticks is typed, or was.
const prose = text => text.split("`").map((part, at) => at % 2 ? el("code", null, part) : part);
const number = value => value === null || value === undefined ? "–" : Number(value).toLocaleString("en");
const bytes = value => value < 10240 ? `${number(value)} B` : value < 10485760 ? `${number(Math.round(value / 1024))} KiB` : `${number(Math.round(value / 1048576))} MiB`;
function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.0005) return "0 ms";
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}
function table(heads, rows, traits) {
  // A head that begins with # is over numbers, with = over words that are not to be broken.
  const kind = head => ({ "#": "number", "=": "short" })[head[0]] || null;
  const cell = (value, at) => value instanceof Node && value.nodeName === "TD" ? value : el("td", { class: kind(heads[at]) }, value);
  const head = text => el("th", { scope: "col", class: kind(text) }, text.replace(/^[#=]/, ""));
  return el("table", traits, el("thead", null, el("tr", null, heads.map(head))),
    el("tbody", null, rows.map(row => el("tr", null, row.map(cell)))));
}

// --- asking ---------------------------------------------------------------------------------------------------------------------

const headers = () => token ? { Authorization: `Bearer ${token}` } : {};
async function reach(path, traits) {
  try { return await fetch(path, { cache: "no-store", ...traits }); } catch { throw new Error("The daemon does not answer."); }
}
async function ask(path) {
  const answer = await reach(path, { headers: headers(), signal: AbortSignal.timeout(10000) });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail || "refused"), body);
  return body;
}
async function post(path, body) {
  const answer = await reach(path, {
    method: "POST", signal: AbortSignal.timeout(35000), body: JSON.stringify(body),
    headers: { ...headers(), "Content-Type": "application/json", "X-Liteferry-Actor": "page" },
  });
  const told = await answer.json();
  if (answer.status === 401) token = null;
  if (!answer.ok) throw Object.assign(new Error(told.detail || "refused"), told);
  return told;
}
const copies = status => status.phase === "setup" || status.phase === "backfill";
const unread = status => status.phase === null;
const moved = status => Boolean(status.routing && status.routing.writes === "postgres");
const halted = status => status.run.state === "halted";
const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));

async function listen() {
  for (;;) {
    try {
      const quiet = new AbortController();
      const answer = await fetch("/v1/events", { headers: headers(), cache: "no-store", signal: quiet.signal });
      if (answer.status === 401) { await askToken(); continue; }
      if (!answer.ok) throw new Error("no place to listen");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = "";;) {
        const silence = setTimeout(() => quiet.abort(), SILENCE_MAX * 2);
        const { value, done } = await reader.read();
        clearTimeout(silence);
        if (done) break;
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          const data = event.split("\n").find(line => line.startsWith("data: "));
          if (data) hear(JSON.parse(data.slice(6)));
        }
      }
    } catch {
      // Enough others listen, or nobody answers: ask now and then, and say so if nobody does.
      try { hear(await ask("/v1/status")); } catch { /* the alarm tells */ }
      await pause(1000);
    }
  }
}

// How far the other side is behind the one that is written; nobody measures it while the daemon has halted, or copies.
function behind(status, writes) {
  if (halted(status) || unread(status) || copies(status) || status.phase === "done" || moved(status) !== (writes === "postgres")) return null;
  return writes === "sqlite" ? status.lag.seconds : status.reverse ? status.reverse.lag_seconds : null;
}

function hear(status) {
  const now = performance.now(), before = state.status;
  state.heard = now;
  state.status = status;
  const back = moved(status), applied = back ? (status.reverse ? status.reverse.applied : null) : status.target.position ? status.target.position.seq : null;
  const last = state.samples.at(-1);
  if (!last || now - last.at > 700) {
    let rate = null;
    if (last && last.back === back && last.applied !== null && applied !== null && applied >= last.applied) rate = (applied - last.applied) / ((now - last.at) / 1000);
    state.samples.push({ at: now, back, applied, rate, lag: behind(status, "sqlite"), reverse: behind(status, "postgres") });
    if (state.samples.length > SAMPLES) state.samples.shift();
  }
  if (!state.picked) state.tab = { validate: "switch", switch: "rollback", cleanup: "cleanup", done: "cleanup" }[status.phase] || "validate";
  watchOrder(status);
  show(status);
  life();
  if (!before || before.phase !== status.phase) {
    showPath();
    askGates();
    askRecords();
  }
}

function life() {
  const silent = performance.now() - state.heard, heard = state.heard > 0, gone = silent > SILENCE_MAX;
  document.body.classList.toggle("stale", gone);
  $("alarm").hidden = !gone;
  if (gone) {
    const seconds = Math.round(silent / 1000);
    $("alarm").textContent = heard
      ? `No word from the daemon for ${seconds} s. What stands below is old: it is not what is so now.`
      : `The daemon does not answer (${seconds} s).`;
  }
  $("life").className = "life " + (gone ? "gone" : heard ? "live" : "");
  $("life").textContent = gone ? "no connection" : heard ? "live" : "connecting …";
  const compares = state.status !== null && !halted(state.status) && ["dual-write", "validate"].includes(state.status.phase);
  for (const button of document.querySelectorAll("#levers button, #percent-set, .order")) {
    button.disabled = gone || button.dataset.off === "yes" || (button.classList.contains("order") && !compares);
  }
  const phase = state.status && state.status.phase || "";
  document.title = gone ? "! no connection – liteferry" : `${phase} – liteferry`;
}

// --- showing --------------------------------------------------------------------------------------------------------------------

// Where not all of it fits, the phase that we are in is seen, and who has no pointer moves along by the arrow keys.
function showPath() {
  const path = $("path"), step = path.querySelector(".here") || path.lastElementChild;
  if (step) path.scrollLeft = step.offsetLeft - (path.clientWidth - step.clientWidth) / 2;
  path.tabIndex = path.scrollWidth > path.clientWidth ? 0 : -1;
}

function show(status) {
  const here = PHASES.indexOf(status.phase);
  keep("path", [here], () => PHASES.map((phase, at) => el("li", {
    class: at < here || status.phase === "done" ? "past" : at === here ? "here" : null,
    "aria-current": at === here ? "step" : null,
  }, phase)));
  showTrouble(status);
  showShores(status);
  showLevers(status);
  showLag(status);
  showValidation(status);
  showBack(status);
  showBackfill(status);
  const target = status.target.version ? `PostgreSQL ${status.target.version}` : "PostgreSQL unknown";
  $("foot").textContent = `liteferry ${status.version}, up ${time(status.uptime_seconds)} · ${target} · WAL ${bytes(status.source.wal_bytes)} · change table ${number(status.source.log_rows)} ${status.source.log_rows === 1 ? "row" : "rows"}`;
}

function showTrouble(status) {
  const { state: run, reason } = status.run, stuck = !halted(status) && status.tick_age_seconds > 30;
  const bad = halted(status) || stuck, box = $("trouble");
  box.hidden = !bad && !["degraded", "stopping", "catching-up"].includes(run) && !status.machine.paused;
  box.className = "trouble " + (bad ? "bad" : "warn");
  if (box.hidden) return;
  const words = {
    halted: "Halted: a person is needed.", degraded: "A passing fault is being waited out.", stopping: "The daemon is stopping.",
    "catching-up": "A backlog is being applied: PostgreSQL is at no single state of SQLite.",
  };
  const head = stuck ? `Nothing has moved for ${time(status.tick_age_seconds)}.` : status.machine.paused && !bad ? "Replication is paused by the operator; changes wait." : words[run] || run;
  put(box, el("b", null, head), reason ? el("p", null, prose(reason.sentence), " ", el("code", null, `[${reason.code}]`)) : null,
    reason && reason.remedy ? el("p", null, "→ ", prose(reason.remedy)) : null);
}

function showShores(status) {
  const writes = status.routing ? status.routing.writes : ["backfill", "dual-write", "validate"].includes(status.phase) ? "sqlite" : "unknown";
  const reads = writes === "postgres" ? 100 : status.machine.reads;
  const { crossing } = status.machine;
  const sentence = status.phase === "done" ? "The migration has ended: the application writes to PostgreSQL, and SQLite is archived."
    : halted(status) ? (crossing ? `The daemon has halted while ${crossing} was under way.`
      : writes === "postgres" ? "The application writes to PostgreSQL; nothing is carried back to SQLite."
      : writes === "sqlite" ? "The application writes to SQLite; nothing is carried over to PostgreSQL."
      : "Nothing is carried over.")
    : unread(status) ? "Where the migration stands has not been read yet."
    : crossing ? `The writes are on their way: ${crossing} is under way.`
    : writes === "postgres" ? "The application writes to PostgreSQL" + (status.reverse ? `; SQLite is ${time(status.reverse.lag_seconds)} behind.` : ".")
    : writes === "paused" ? "The writes wait for a moment while they are moved."
    : status.phase === "setup" ? "The application writes to SQLite; PostgreSQL is being prepared."
    : status.phase === "backfill" ? "The application writes to SQLite while its rows are copied."
    : writes === "sqlite" ? "The application writes to SQLite" + (status.lag.seconds === null ? "." : `; PostgreSQL is ${time(status.lag.seconds)} behind.`)
    : "The daemon is looking at both sides.";
  $("sentence").textContent = sentence;
  $("source").textContent = status.source.path;
  $("target").textContent = `${status.target.address} · ${status.target.schema}`;
  $("sqlite").classList.toggle("writes", writes === "sqlite");
  $("postgres").classList.toggle("writes", writes === "postgres");
  const chips = (side, up) => [
    up ? null : el("span", { class: "chip bad" }, "not reached"),
    writes === side ? el("span", { class: "chip main" }, "writes") : null,
    writes === "unknown" ? null : side === "sqlite" ? (reads < 100 ? el("span", { class: "chip" }, `reads ${100 - reads} %`) : null)
      : (reads > 0 ? el("span", { class: "chip" }, `reads ${reads} %`) : null),
  ];
  put($("sqlite-chips"), status.phase === "done" ? el("span", { class: "chip" }, "archived") : chips("sqlite", status.source.up));
  put($("postgres-chips"), chips("postgres", status.target.up));
  const moves = !["halted", "degraded", "stopping"].includes(status.run.state) && !status.machine.paused && status.phase !== "done";
  $("water").className = "water" + (!moves ? "" : writes === "postgres" ? (status.reverse ? " back" : "") : here(status) > 0 ? " forth" : "");
}
const here = status => PHASES.indexOf(status.phase);

function showLevers(status) {
  const impossible = command => status.gates[command].because && status.gates[command].because.code === "not_in_this_phase";
  const first = halted(status) ? null : { "dual-write": "validate", validate: "switch" }[status.phase];
  const lever = (id, name, off, grave, act) => [id, name, off, grave, act];
  const levers = Object.entries(MOVES).map(([command, { name }]) =>
    lever(command, name, impossible(command) || (command === "validate" && status.phase === "validate") || (command === "switch" && status.phase === "switch") || (command === "rollback" && status.phase === "dual-write") || status.phase === "done",
      command === "rollback" || command === "cleanup", () => move(command)));
  levers.push(status.machine.paused ? lever("resume", "Resume", false, false, () => simple("Resume", "/v1/resume", "What has waited is carried over."))
    : lever("pause", "Pause", !["dual-write", "validate", "switch"].includes(status.phase), false, () => simple("Pause", "/v1/pause", "Nothing is carried over any more; changes wait until replication is resumed.")));
  const shape = JSON.stringify([levers.map(([id, name, off]) => [id, name, off]), first]);
  if (state.levers !== shape) {
    // A button under somebody's finger is not replaced every second.
    state.levers = shape;
    const focused = document.activeElement && document.activeElement.id;
    put($("levers"), levers.map(([id, name, off, grave, act]) => el("button", {
      type: "button", id: `do-${id}`, class: id === first ? "main" : grave ? "grave" : null, "data-off": off ? "yes" : "no", disabled: off, onclick: act,
    }, name)));
    if (focused && $(focused)) $(focused).focus();
  }
  const fixed = !["dual-write", "validate"].includes(status.phase);
  $("reads").hidden = fixed;
  $("percent-set").dataset.off = fixed ? "yes" : "no";
  if (!state.sliding) { $("percent").value = status.machine.reads; $("percent-told").textContent = `${status.machine.reads} %`; }
}

function showLag(status) {
  $("lag-figure").hidden = moved(status);
  $("lag-now").textContent = time(behind(status, "sqlite"));
  $("reverse-figure").hidden = !moved(status) || !status.reverse;
  $("reverse-now").textContent = time(behind(status, "postgres"));
  const rates = state.samples.slice(-5).map(sample => sample.rate).filter(rate => rate !== null);
  $("rate-now").textContent = rates.length ? number(Math.round(rates.reduce((sum, rate) => sum + rate, 0) / rates.length)) : "–";
  const now = state.heard, width = 600, height = 140;
  const span = Math.min(SAMPLES * 1000, Math.max(60000, now - state.samples[0].at));
  const top = Math.max(0.1, ...state.samples.flatMap(sample => [sample.lag || 0, sample.reverse || 0])) * 1.15;
  const x = at => (width - (now - at) / span * width).toFixed(1), y = value => (height - value / top * (height - 8)).toFixed(1);
  const line = pick => state.samples.filter(sample => pick(sample) !== null).map(sample => `${x(sample.at)},${y(pick(sample))}`);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const part of [0.25, 0.5, 0.75, 1]) drawing.append(svg("line", { class: "grid-line", x1: 0, x2: width, y1: y(top * part), y2: y(top * part) }));
  const forward = line(sample => sample.lag), reverse = line(sample => sample.reverse);
  if (forward.length > 1) {
    drawing.append(svg("polygon", { class: "area", points: `${forward[0].split(",")[0]},${height} ${forward.join(" ")} ${forward.at(-1).split(",")[0]},${height}` }));
    drawing.append(svg("polyline", { class: "lag", points: forward.join(" ") }));
  }
  if (reverse.length > 1) drawing.append(svg("polyline", { class: "reverse", points: reverse.join(" ") }));
  put($("lag-plot"), drawing, el("p", null, el("span", null, `${time(span / 1000)} ago`), el("span", null, `top: ${time(top)}`), el("span", null, "now")));
  $("lag-plot").setAttribute("aria-label", `Lag of the last minutes: now ${time(behind(status, moved(status) ? "postgres" : "sqlite"))}, at most ${time(top / 1.15)}`);
}

function showValidation(status) {
  const { validation } = status, running = validation.state === "running";
  const told = validation.verdict === null
    ? [el("p", { class: "big" }, running ? "Comparing …" : "Not compared yet")]
    : [el("p", { class: "big " + (validation.verdict === "differs" ? "bad" : "good") }, validation.verdict),
       el("p", { class: "because" }, `${validation.direction === "reverse" ? "SQLite against PostgreSQL, its source · " : ""}${time(validation.age_seconds)} ago · ${number(validation.differences)} rows differ${running ? " · comparing again …" : ""}`)];
  keep("validation", [told.map(part => part.textContent), state.differing], () => [told, differing()].filter(part => part !== null));
  const differs = validation.verdict === "differs";
  keep("validation-levers", [differs], () => [
    el("button", { type: "button", class: "small order", onclick: () => simple("Compare both sides", "/v1/validation", "Every row of both sides is compared, beside the writers.") }, "Compare now"),
    differs ? [el("button", { type: "button", class: "small order", onclick: () => simple("Repair", "/v1/validation", "Rows that differ are read again from the source; then everything is compared once more.", { repair: true }) }, "Repair")] : []]);
}
function differing() {
  if (!state.differing || !state.differing.length) return null;
  return el("div", { class: "scroll", tabindex: "0" }, table(["table", "row", "what"], state.differing));
}

function showBack(status) {
  const { possible, reason } = status.rollback, { reverse, pause: { expected_seconds: expected, measured_seconds: measured } } = status;
  put($("back"), el("p", { class: "big " + (possible ? "good" : status.phase === "done" ? "" : "bad") }, possible ? "Open" : "Closed"),
    el("p", { class: "because" }, !possible ? prose(`Because ${reason}.`) : moved(status) ? "The application can go back to SQLite without loss." : "The application has not left SQLite."),
    reverse ? el("p", { class: "because" }, `${number(reverse.changes)} changes wait · canary ${reverse.canary ? "has come round" : "has not come round"}`) : null,
    expected !== null ? el("p", { class: "because" }, `Expected write pause: ${time(expected)}`) : null,
    measured !== null ? el("p", { class: "because" }, `Write pause of the last switch: ${time(measured)}`) : null);
}

function showBackfill(status) {
  const tables = Object.entries(status.backfill.tables), underWay = copies(status);
  $("backfill-card").hidden = !tables.length || !underWay;
  if ($("backfill-card").hidden) return;
  const rank = { copying: 0, waiting: 1, copied: 2 };
  tables.sort((a, b) => rank[a[1].state] - rank[b[1].state] || b[1].total - a[1].total);
  const eta = status.backfill.eta_seconds;
  put($("backfill"), eta === null ? null : el("p", { class: "because" }, `${time(eta)} left`), tables.slice(0, 12).map(([name, { rows, total, state: word }]) =>
    el("div", { class: "bar" }, el("p", null, el("span", null, name), el("span", null, `${number(rows)} of ${number(Math.max(rows, total))} · ${word}`)),
      el("progress", { max: Math.max(rows, total, 1), value: word === "copied" ? Math.max(rows, total, 1) : rows, "aria-label": name }))),
    tables.length > 12 ? el("p", { class: "because" }, `and ${tables.length - 12} more tables`) : null);
}

// Builds a part anew only when what it shows has changed: who reads, selects or tabs is left in peace.
function keep(id, shape, build) {
  const key = JSON.stringify(shape), node = $(id);
  if (node.dataset.shape === key) return;
  node.dataset.shape = key;
  put(node, build().flat());
}

// --- what is asked for now and then ---------------------------------------------------------------------------------------------

function gateTable(gates, phase) {
  if (!gates.length) return el("p", { class: "because" }, phase === "done" ? "The migration has ended: nothing is left to be ordered." : "No gate stands before this.");
  const closedFirst = [...gates].sort((one, other) => one.ok - other.ok);
  return table(["=state", "=gate", "reading", "wanted", "what to do"], closedFirst.map(gate => [
    el("td", { class: gate.ok ? "ok" : "not" }, gate.ok ? "✓ open" : "✕ closed"), el("b", null, gate.name), gate.reading, gate.limit, prose(gate.remedy || ""),
  ]), { class: "gates" });
}
async function askGates() {
  if (!state.tab) return;
  keep("gate-tabs", [state.tab], () => Object.entries(MOVES).map(([command, { name }]) =>
    el("button", { type: "button", class: "small", "aria-pressed": String(command === state.tab), onclick: () => { state.tab = command; state.picked = true; askGates(); } }, name)));
  const tab = state.tab;
  try {
    const told = await ask(`/v1/gates?to=${MOVES[tab].to}`);
    if (tab !== state.tab) return;
    const because = told.because && told.because.code !== "gates_closed" ? `${told.because.sentence}. ${told.because.remedy}` : null;
    keep("gates", [tab, told], () => [because ? el("p", { class: "because" }, prose(because)) : null, told.gates.length || !because ? gateTable(told.gates, told.phase) : null]);
  } catch { /* the alarm tells of a daemon that is gone */ }
}
async function askRecords() {
  // Where nobody answers, what was told last stays, and the alarm says how old it is.
  const failed = (id, problem) => problem.code && keep(id, [problem.message], () => [el("p", { class: "because" }, `Not known: ${problem.message}`)]);
  const show = async (id, path, build) => { try { const told = await ask(path); keep(id, [told], () => [build(told)].flat()); } catch (problem) { failed(id, problem); } };
  const none = text => el("p", { class: "because" }, text);
  await Promise.all([
    show("tables", "/v1/tables", ({ tables }) => tables.length ? table(["SQLite", "PostgreSQL", "=state", "#rows"], tables.map(each => [each.source, each.target, each.state, number(each.rows)]), { class: "tables" }) : none(state.status && state.status.phase === "done" ? "No table is followed any more." : "No table is followed yet.")),
    show("ledger", "/v1/ledger?limit=50", ({ entries }) => entries.length ? table(["table", "key", "column", "reason", "=settle"], entries.map(each => [each.table, each.key, each.column, each.reason,
      el("td", null, each.accepted ? "accepted " : el("button", { type: "button", class: "small order", onclick: () => simple("Accept an entry of the ledger", `/v1/ledger/${each.id}`, "What PostgreSQL holds counts as right.", { action: "accept" }) }, "Accept"), " ",
        el("button", { type: "button", class: "small order", onclick: () => simple("Try an entry of the ledger again", `/v1/ledger/${each.id}`, "The row is read again from SQLite.", { action: "retry" }) }, "Retry"))]), { class: "ledger" }) : none("Nothing is held: what has crossed has crossed exactly.")),
    show("journal", "/v1/journal?limit=50", ({ entries }) => entries.length ? table(["=at", "=what", "detail"], entries.map(each => [each.at.replace("T", " ").slice(0, 19), each.what,
      el("td", null, each.detail, ((who, why) => who || why ? el("p", { class: "because" }, [who, why].filter(Boolean).join(": ")) : null)(each.actor && !each.detail.includes(each.actor) ? each.actor : null, each.reason))]), { class: "journal" }) : none("Nothing yet.")),
    (async () => {
      try {
        const told = await ask("/v1/validation"), report = told.report || {};
        state.differing = (report.tables || []).flatMap(each => (each.differences || []).slice(0, 10).map(row => [each.table, row.key, row.kind])).slice(0, 50);
      } catch { /* shown with the next answer */ }
    })(),
  ]);
}

// --- orders ---------------------------------------------------------------------------------------------------------------------

function field(id, label, traits) { return el("label", { for: id }, label, el("input", { id, autocomplete: "off", ...traits })); }
function tokenField() { return token ? null : field("token", "Token (the file token in state.dir, or http.token_file)", { type: "password", required: true, spellcheck: "false" }); }

function open(title, body, act, yes) {
  state.doing = act;
  $("dialog-title").textContent = title;
  put($("dialog-body"), body);
  $("dialog-wrong").hidden = true;
  $("dialog-yes").textContent = yes || "Do it";
  $("dialog-yes").disabled = !act;
  $("dialog-yes").hidden = !act;
  if (!$("dialog").open) $("dialog").showModal();
}
function wrong(problem) {
  const gates = (problem.gates || []).map(gate => gate.name).join(", ");
  $("dialog-wrong").textContent = problem.message + (problem.remedy ? ` → ${problem.remedy}` : gates);
  $("dialog-wrong").hidden = false;
}

async function move(command) {
  const { to, name } = MOVES[command];
  let outlook;
  try { outlook = await ask(`/v1/gates?to=${to}`); } catch (problem) { return toast(problem.message); }
  const body = [el("p", null, "What would be done:"), el("ol", null, outlook.steps.map(step => el("li", null, step)))];
  if (outlook.gates.length) body.push(gateTable(outlook.gates));
  const unknown = !outlook.open && outlook.because.code === "gates_unread";
  if (!outlook.open) body.push(el("p", { class: unknown ? "because" : "wrong" }, unknown ? "Its gates have not been looked at yet; the daemon looks at them before it acts." : `It would be refused: ${outlook.because.sentence}. ${outlook.because.remedy}`));
  if (!outlook.open && !unknown) return open(name, body, null);
  const file = state.status.source.path.split("/").at(-1);
  if (command === "cleanup") body.push(field("confirm", `There is no way back. Type the name of the database file (${file})`, { required: true }));
  body.push(field("reason", "Why, for the journal (may be left empty)", { maxlength: 500 }), tokenField());
  open(name, body, () => order(name, "/v1/phase", {
    to, expect: outlook.phase || undefined, reason: $("reason").value || undefined, confirm: $("confirm") ? $("confirm").value : undefined,
  }), name);
}
function simple(name, path, sentence, fields) {
  const explains = ["/v1/pause", "/v1/resume", "/v1/reads"].includes(path);
  open(name, [el("p", null, sentence), explains ? field("reason", "Why, for the journal (may be left empty)", { maxlength: 500 }) : null, tokenField()],
    () => order(name, path, { ...fields, reason: explains ? $("reason").value || undefined : undefined }), name);
}
async function order(name, path, body) {
  const taken = await post(path, body);
  state.waiting = taken.see === "/v1/status" ? { name, number: taken.order, since: performance.now() } : null;
  toast(`${name}: taken as order ${taken.order}.`);
}
function watchOrder(status) {
  const { waiting } = state;
  if (!waiting || !status.answer || status.answer.order < waiting.number) return;
  state.waiting = null;
  const answer = status.answers.find(({ order }) => order === waiting.number);
  if (!answer) return toast(`${waiting.name}: many later orders were answered; the journal tells of all.`);
  const { refused } = answer;
  toast(refused ? `${waiting.name}: refused: ${refused.sentence} → ${refused.remedy}` : `${waiting.name}: done.`, refused ? 15000 : 6000);
  askRecords();
}
async function send(event) {
  event.preventDefault();
  const act = state.doing;
  if (!act) return;
  if ($("token")) token = $("token").value.trim();
  $("dialog-yes").disabled = true;
  try { await act(); $("dialog").close(); }
  catch (problem) {
    wrong(problem);
    if (problem.code === "no_token") {
      token = null;
      if ($("token")) $("token").select(); else $("dialog-body").append(tokenField());
    }
  }
  $("dialog-yes").disabled = false;
}
function askToken() {
  // Whoever closes the dialog is asked again: without the token there is nothing to show.
  return new Promise(done => { $("dialog").addEventListener("close", done, { once: true }); open("Token", [el("p", null, "This listener wants its token for reading too."), tokenField()], async () => {
    await ask("/v1/status").catch(problem => { token = null; throw problem; });
  }, "Go on"); });
}
let toasted = 0;
function toast(text, lasts = 6000) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toasted);
  toasted = setTimeout(() => { $("toast").hidden = true; }, lasts);
}

$("dialog-form").addEventListener("submit", send);
$("dialog-no").addEventListener("click", () => $("dialog").close());
$("percent").addEventListener("input", () => { state.sliding = true; $("percent-told").textContent = `${$("percent").value} %`; });
$("reads").addEventListener("submit", event => {
  event.preventDefault();
  const percent = Number($("percent").value);
  simple("Move reads", "/v1/reads", `Of a hundred keys, ${percent} are to be read in PostgreSQL.`, { percent });
});
$("dialog").addEventListener("close", () => { state.sliding = false; put($("dialog-body")); });
addEventListener("resize", showPath);
setInterval(life, 500);
setInterval(askGates, 2000);
setInterval(askRecords, 5000);
listen();
