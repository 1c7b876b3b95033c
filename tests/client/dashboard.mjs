// The dashboard in real Chromium, one scenario a run: tests/README.md. Prints JSON lines, ends with 0 when all held.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import { parseArgs, stripVTControlCharacters } from "node:util";
import { badge, booking, Desk, launch, live, names, openPage, sees, signIn } from "./desk.mjs";
import { exit, print } from "./lines.mjs";

const { positionals: [scenario], values: args } = parseArgs({
  allowPositionals: true,
  options: { url: { type: "string" }, email: { type: "string" }, password: { type: "string" }, key: { type: "string" }, bookbell: { type: "string" }, fixtures: { type: "string" } },
});
const desk = new Desk(args);
const pages = [];

async function open(browser, options) {
  const page = await openPage(browser, desk, options);
  pages.push(page);
  return page;
}

/** A browser of its own that is signed in as the admin. */
async function colleague(browser, options) {
  const page = await open(browser, options);
  await signIn(page, desk);
  return page;
}

const row = (page, name) => page.locator("[data-testid=prospect]").filter({ hasText: name });
const card = (page, title) => page.getByTestId("proposals").getByTestId("proposal").filter({ hasText: title });
const goTo = (page, hash) => page.evaluate((to) => { location.hash = to; }, hash);
const step = (what) => print({ type: "step", what });

/** Scrolls through the whole table and answers every name in order, as often as it is there. */
async function allNames(page) {
  const found = new Map();
  const box = page.getByTestId("prospects");
  await box.evaluate((node) => node.scrollTo(0, 0));
  for (let before = -1; ;) {
    for (const [index, name] of await page.locator("[data-testid=prospect]").evaluateAll((rows) => rows.map((one) => [Number(one.ariaRowIndex), one.querySelector(".name .first").innerText.trim()]))) found.set(index, name);
    const at = await box.evaluate((node) => { node.scrollTop += node.clientHeight; return node.scrollTop; });
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 30))));
    const more = await page.locator(".table").getAttribute("aria-rowcount") === "-1";
    if (at === before && !more) break;
    before = at;
  }
  return [...found].sort((a, b) => a[0] - b[0]).map(([, name]) => name);
}

// --- Two browsers on one account ------------------------------------------------------------

async function together(browser) {
  const [anna, ben] = [await colleague(browser), await colleague(browser)];
  await anna.getByTestId("empty").waitFor();
  step("a signed booking rings in both");
  await desk.post(booking(1));
  for (const page of [anna, ben]) {
    await sees(page, "rows", names(page), ["Visitor 1"]);
    await sees(page, "the badge", badge(page), "1");
    assert.match(await page.title(), /^\(1\) /);
    assert.match(await page.locator("#favicon").getAttribute("href"), /favicon-new\.svg$/);
  }
  await anna.getByTestId("toast").getByText("New prospect").waitFor();
  await sees(anna, "the announcement", async () => (await anna.getByTestId("announcer").innerText()).includes("Visitor 1"), true);

  step("created, changed and deleted at once");
  await anna.keyboard.press("n");
  const form = anna.getByTestId("prospect-form");
  await form.locator("[name=firstname]").fill("Orsolya");
  await form.locator("[name=email]").fill("orsolya@example.org");
  await form.locator("button[type=submit]").click();
  await sees(ben, "rows", names(ben), ["Orsolya", "Visitor 1"]);
  await sees(ben, "the badge", badge(ben), "2");
  await row(ben, "Orsolya").click();
  await ben.getByTestId("status").selectOption("contacted");
  await sees(anna, "the badge", badge(anna), "1");
  await sees(anna, "the status", () => row(anna, "Orsolya").locator(".pill").innerText(), "Contacted");

  step("a conflict shows both versions");
  await conflict(anna, ben);

  step("deleted");
  await anna.locator("[data-action=delete]").click();
  await anna.locator("[data-action=delete-now]").click();
  await sees(ben, "rows", names(ben), ["Visitor 1"]);
  await ben.getByTestId("panel").getByText("No longer here").waitFor();
  await ben.keyboard.press("Escape");

  await filters(anna, ben);
  await sessions(anna);
}

async function conflict(anna, ben) {
  const phone = (page) => page.getByTestId("prospect-form").locator("[name=phone]");
  for (const page of [anna, ben]) {
    await page.locator("[data-action=edit]").click();
    await phone(page).waitFor();
  }
  await phone(ben).fill("+36 1 555 0100");
  await ben.getByTestId("prospect-form").locator("[name=company]").fill("Ben’s finding");
  await ben.getByTestId("prospect-form").locator("button[type=submit]").click();
  await ben.locator("[data-action=edit]").waitFor();
  await anna.getByText("Somebody has just changed this prospect").waitFor();
  await phone(anna).fill("+36 1 555 0200");
  anna.expected = /status of 412/;
  await anna.getByTestId("prospect-form").locator("button[type=submit]").click();
  const both = anna.getByTestId("conflict");
  await both.getByText("+36 1 555 0100").waitFor();
  await both.getByText("+36 1 555 0200").waitFor();
  await both.getByText("Ben’s finding").waitFor();
  await both.locator("[data-action=resolve]").click();
  await sees(ben, "what was chosen", async () => (await ben.getByTestId("panel").innerText()).includes("+36 1 555 0200"), true);
  const { body } = await desk.call("GET", "/api/prospects?search=orsolya");
  assert.deepEqual([body.items[0].phone, body.items[0].company], ["+36 1 555 0200", "Ben’s finding"]);
}

async function filters(anna, ben) {
  step("arrivals and filters");
  await anna.getByTestId("filter-status").selectOption("contacted");
  await anna.getByText("Nobody matches").waitFor();
  await desk.post(booking(2));
  await sees(ben, "rows", names(ben), ["Visitor 2", "Visitor 1"]);
  const { body } = await desk.call("GET", "/api/prospects?search=visitor-2");
  await desk.call("PATCH", `/api/prospects/${body.items[0].id}`, { status: "contacted" });
  await sees(anna, "rows", names(anna), ["Visitor 2"]);
  await desk.call("PATCH", `/api/prospects/${body.items[0].id}`, { status: "lost" });
  await anna.getByText("Nobody matches").waitFor();
  await anna.getByTestId("filter-status").selectOption("");
  await anna.keyboard.press("/");
  await anna.keyboard.type("VISÍTOR 3");
  await anna.getByText("Nobody matches").waitFor();
  await Promise.all([3, 4].map((n) => desk.post(booking(n))));
  await sees(anna, "rows", names(anna), ["Visitor 3"]);
  await sees(anna, "the count", () => anna.getByTestId("total").innerText(), "1 found");
  await anna.keyboard.press("Escape");

  step("arrivals and pages");
  for (let n = 10; n < 140; n += 13) await Promise.all(Array.from({ length: 13 }, (_, i) => desk.post(booking(n + i))));
  await sees(anna, "the count", () => anna.getByTestId("total").innerText(), "134 in all");
  await anna.getByTestId("sort").selectOption("createdAt");
  await sees(anna, "the oldest first", async () => (await names(anna)())[0], "Visitor 1");
  // It sorts behind the loaded page: it comes with the pages, once.
  await desk.post(booking(200));
  const { body: all } = await desk.call("GET", "/api/prospects?sort=createdAt&limit=200");
  assert.deepEqual(await allNames(anna), all.items.map((one) => one.firstname + (one.lastname ? ` ${one.lastname}` : "")));
  await anna.getByTestId("sort").selectOption("name");
  const { body: byName } = await desk.call("GET", "/api/prospects?sort=name&limit=200");
  await sees(anna, "by name", async () => (await names(anna)())[1], "Visitor 10");
  assert.deepEqual(await allNames(anna), byName.items.map((one) => `${one.firstname} ${one.lastname}`));

  step("nothing moves under the pointer");
  const top = ben.locator("[data-testid=prospect]").first();
  await top.waitFor();
  const box = ben.getByTestId("prospects");
  await box.hover({ position: { x: 300, y: 100 } });
  await ben.mouse.move(500, 400, { steps: 4 });
  const under = () => ben.evaluate(() => document.elementFromPoint(500, 400).closest("[data-testid=prospect]").dataset.id);
  const held = await under();
  await desk.post(booking(201));
  await ben.locator(".above").getByText("1 new above").waitFor();
  assert.equal(await under(), held);
  await ben.locator(".above").click();
  await sees(ben, "the top", async () => (await names(ben)())[0], "Visitor 201");
}

async function sessions(anna) {
  step("signed in over reloads; a session that ends says so and returns to where one was");
  await goTo(anna, "#/agenda");
  await anna.reload();
  await live(anna);
  const tab = await open(anna.context());
  await live(tab);
  await tab.keyboard.press(",");
  await tab.getByRole("button", { name: "Sign out" }).click();
  await anna.getByText("You signed out in another tab").waitFor();
  await anna.locator("input[name=email]").fill(desk.email);
  await anna.locator("input[name=password]").fill(desk.password);
  await anna.keyboard.press("Enter");
  await anna.getByTestId("agenda").getByTestId("proposal").first().waitFor();
}

// --- Proposals ------------------------------------------------------------------------------

async function proposals(browser) {
  const [anna, ben] = [await colleague(browser), await colleague(browser)];
  const tab = await open(anna.context());
  await live(tab);
  await goTo(ben, "#/agenda");
  const titled = (n, title) => desk.post(booking(n, { scheduled_event: { ...booking(n).payload.scheduled_event, name: title } }));
  await titled(1, "First call");
  await titled(2, "Second call");
  const line = (title) => ben.getByTestId("agenda").getByTestId("proposal").filter({ hasText: title });

  step("accepted");
  await card(anna, "First call").locator("[data-action=accept]").click();
  await sees(ben, "accepted", () => line("First call").locator(".pill").innerText(), "Accepted");
  await card(anna, "First call").waitFor({ state: "detached" });

  step("rejected with a reason");
  await card(anna, "Second call").locator("[data-action=reject]").click();
  await anna.locator("textarea[name=reason]").fill("Not our field");
  await anna.locator("[data-action=reject-now]").click();
  await sees(ben, "rejected", () => line("Second call").locator(".pill").innerText(), "Rejected");
  const { body } = await desk.call("GET", "/api/proposals?status=rejected");
  assert.equal(body.items[0].history.at(-1).reason, "Not our field");

  step("at most five, put away in every tab");
  for (let n = 3; n < 10; n += 1) await titled(n, `Call ${n}`);
  const shown = (page) => () => page.getByTestId("proposals").getByTestId("proposal").count();
  for (const page of [anna, tab]) await sees(page, "cards", shown(page), 5);
  await anna.locator(".incoming").getByText("and 2 more").waitFor();
  await card(anna, "Call 9").locator("[data-action=dismiss]").click();
  for (const page of [anna, tab]) await card(page, "Call 9").waitFor({ state: "detached" });
  await sees(tab, "cards", shown(tab), 5);
  await card(anna, "Call 8").locator("[data-action=view]").click();
  await anna.getByTestId("panel").getByText("visitor-8@example.org").waitFor();

  step("marks for moved, canceled and no-show; times of both sides");
  const stories = ["reschedule", "booking-canceled-by-host", "no-show-set-again"].map((name) => `${args.fixtures}/stories/${name}`);
  await desk.replay(stories);
  await line("Moved").first().waitFor();
  await line("Canceled").first().waitFor();
  await sees(ben, "no-show", async () => (await desk.call("GET", "/api/proposals?status=no_show")).body.total, 1);
  const { body: noShow } = await desk.call("GET", "/api/proposals?status=no_show");
  await goTo(ben, `#/agenda/${noShow.items[0].prospectId}`);
  await ben.getByTestId("panel").getByText("No-show").waitFor();
  const time = await line("Call 5").locator(".line-time").innerText();
  assert.match(time, /^\d\d:\d\d[–-]\d\d:\d\d\s+(\S+, )?.*America\/New York$/s, time);
  await line("Call 5").getByText("zoom.us").waitFor();
}

// --- A cut network --------------------------------------------------------------------------

/** Stands between the page and the server, and can be cut. */
async function proxy(target) {
  const { hostname, port } = new URL(target);
  const sockets = new Set();
  let cut = false;
  const server = net.createServer((client) => {
    if (cut) return client.destroy();
    const upstream = net.connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {}).on("close", () => { sockets.delete(socket); client.destroy(); upstream.destroy(); });
    }
    client.pipe(upstream).pipe(client);
    return undefined;
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    set cut(on) {
      cut = on;
      if (on) sockets.forEach((socket) => socket.destroy());
    },
    close: () => { sockets.forEach((socket) => socket.destroy()); server.close(); },
  };
}

async function gap(browser) {
  const between = await proxy(desk.url);
  const page = await openPage(browser, { ...desk, url: between.url });
  pages.push(page);
  await signIn(page, desk);
  let sent = 0;
  let loading = true;
  const load = (async () => {
    for (; loading; sent += 4) {
      await Promise.all([0, 1, 2, 3].map((i) => desk.post(booking(1_000 + sent + i))));
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
  })();
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  await wait(1_500);
  step("cut for five seconds under load");
  const seen = [];
  between.cut = true;
  await page.locator("[data-testid=connection]:not([data-state=live])").waitFor({ state: "attached" });
  await wait(1_800);
  seen.push(await page.locator(".strip").innerText());
  await wait(3_200);
  between.cut = false;
  await live(page);
  await wait(1_000);
  loading = false;
  await load;
  await sees(page, "the badge", badge(page), String(sent));
  assert.match(seen[0], /nothing is lost|catches up/);
  const { body } = await desk.call("GET", "/api/prospects?limit=1");
  assert.equal(body.total, sent);
  const listed = await allNames(page);
  assert.equal(listed.length, sent, "as many rows as bookings");
  assert.equal(new Set(listed).size, sent, "no row twice");
  print({ type: "gap", sent });
  page.faults = page.faults.filter((fault) => !/Failed to load resource|WebSocket/.test(fault));
  between.close();
}

// --- Hostile text ---------------------------------------------------------------------------

async function hostile(browser) {
  const page = await colleague(browser);
  await page.evaluate(() => { window.alert = () => { window.__xss = true; }; });
  const attack = (n) => `"'><img src=x onerror="window.__xss=${n}"><svg onload="window.__xss=${n}"><script>window.__xss=${n}</script>\${window.__xss=${n}}{{constructor.constructor("window.__xss=${n}")()}}`;
  const link = "javascript:window.__xss=1";
  const shapes = ["hostile_markup", "hostile_cancellation", "hostile_routing_form", "hostile_unicode", "hostile_formula"].map((name) => `${args.fixtures}/shapes/${name}.json`);
  await desk.replay(shapes);
  const { scheduled_event: event } = booking(1).payload;
  await desk.post(booking(1, {
    name: attack(1), first_name: attack(2), last_name: attack(3), timezone: attack(4), text_reminder_number: attack(5), cancel_url: link, reschedule_url: link,
    questions_and_answers: [{ question: attack(6), answer: link, position: 0 }, { question: "Company", answer: attack(7), position: 1 }, { question: "Site", answer: "data:text/html,<script>window.__xss=1</script>", position: 2 }],
    tracking: Object.fromEntries(["utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "salesforce_uuid"].map((key, i) => [key, attack(10 + i)])),
    scheduled_event: { ...event, name: attack(20), location: { type: "physical", location: attack(21) }, event_guests: [{ email: attack(22), created_at: event.created_at, updated_at: event.created_at }], event_memberships: [{ user: "https://api.calendly.com/users/x", user_email: "host@example.com", user_name: attack(23) }] },
  }));
  await desk.post(booking(2, { scheduled_event: { ...event, uri: `${event.uri}2`, location: { type: "custom", location: link } } }));
  await row(page, "<script>").first().waitFor();
  const { body: list } = await desk.call("GET", "/api/prospects?limit=200");
  const { body: deliveries } = await desk.call("GET", "/api/deliveries?limit=50");
  const views = ["#/agenda", "#/numbers", "#/deliveries", ...list.items.map(({ id }) => `#/prospects/${id}`), ...deliveries.items.map(({ id }) => `#/deliveries/${id}`)];
  for (const view of views) {
    await goTo(page, view);
    if (view.includes("/deliveries/")) await page.getByTestId("body").waitFor();
    else if (view.includes("/prospects/")) await page.getByTestId("panel-name").waitFor();
    await page.evaluate(() => document.querySelectorAll("details").forEach((node) => { node.open = true; }));
    const { ran, made } = await page.evaluate(() => ({
      ran: window.__xss !== undefined,
      made: [...document.querySelectorAll("*")].filter((node) => [...node.attributes].some(({ name, value }) => name.startsWith("on") || /^\s*(javascript|data):/i.test(value))
        || (node.localName === "script" && !["importmap", "module"].includes(node.type)) || (node.localName === "img" && !node.src.endsWith(".svg"))).map((node) => node.outerHTML.slice(0, 200)),
    }));
    assert.deepEqual({ ran, made }, { ran: false, made: [] }, view);
  }
  step("shown as text");
  const worst = list.items.find(({ firstname }) => firstname?.startsWith(`"'>`));
  await goTo(page, `#/prospects/${worst.id}`);
  await page.getByTestId("booking").waitFor();
  const text = await page.getByTestId("panel").evaluate((node) => node.textContent);
  for (const n of [2, 3, 6, 10, 15, 20, 21, 22, 23]) assert.ok(text.includes(`window.__xss=${n}"`), `attack ${n} is text: ${text.slice(0, 400)}`);
  for (const href of await page.locator("a").evaluateAll((links) => links.map((one) => one.href))) assert.match(href, /^(https?|mailto|tel):/);
  for (const rel of await page.locator("a[target]").evaluateAll((links) => links.map((one) => one.rel))) assert.equal(rel, "noopener noreferrer");
}

// --- For everybody: axe, keyboard, French ---------------------------------------------------

async function access(browser) {
  await desk.replay([`${args.fixtures}/stories`, `${args.fixtures}/events`, `${args.fixtures}/shapes/guests.json`]);
  const { body: { items: [prospect] } } = await desk.call("GET", "/api/prospects?search=tomoe");
  const { body: { items: [delivery] } } = await desk.call("GET", "/api/deliveries?status=processed&limit=1");
  const views = [
    ["#/prospects", "[data-testid=prospect]"], [`#/prospects/${prospect.id}`, "[data-testid=booking]"], ["#/prospects/new", "[data-testid=prospect-form]"],
    ["#/agenda", "[data-testid=proposal]"], ["#/numbers", "h1"], ["#/deliveries", "[data-testid=delivery]"], [`#/deliveries/${delivery.id}`, "[data-testid=body]"],
  ];
  for (const scheme of ["light", "dark"]) {
    const page = await open(browser, { colorScheme: scheme, reducedMotion: "reduce" });
    await page.getByTestId("login-form").waitFor();
    await axe(page, `log-in, ${scheme}`);
    await signIn(page, desk);
    for (const [hash, ready] of views) {
      await goTo(page, hash);
      await page.locator(ready).first().waitFor();
      await axe(page, `${hash}, ${scheme}`);
    }
    await goTo(page, "#/agenda");
    for (const key of ["?", ",", "i"]) {
      await page.keyboard.press(key);
      await page.locator("dialog[open]").waitFor();
      await axe(page, `dialog ${key}, ${scheme}`);
      await page.keyboard.press("Escape");
      await page.locator("dialog").waitFor({ state: "detached" });
    }
    if (scheme === "dark") continue;
    await page.setViewportSize({ width: 390, height: 844 });
    await goTo(page, "#/prospects");
    await page.locator("[data-testid=prospect]").first().waitFor();
    await axe(page, "#/prospects on a phone");
  }
  await keyboard(browser);
  await french(browser);
}

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function axe(page, where) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const brief = violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`) }));
  assert.deepEqual(brief, [], where);
}

async function keyboard(browser) {
  step("by keyboard alone");
  const page = await open(browser);
  const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
  const focus = (selector) => sees(page, `the focus at ${selector}`, () => page.evaluate((wanted) => document.activeElement.matches(wanted), selector), true);
  await focus("input[name=email]");
  await page.keyboard.type(desk.email);
  await press("Tab");
  await page.keyboard.type(desk.password);
  await press("Enter");
  await live(page);
  await page.locator("[data-testid=prospect]").first().waitFor();
  await press("j");
  await focus("[data-testid=prospect]");
  const first = await page.evaluate(() => document.activeElement.dataset.id);
  await press("j");
  await sees(page, "the next row", () => page.evaluate((id) => document.activeElement.matches("[data-testid=prospect]") && document.activeElement.dataset.id !== id, first), true);
  await press("k", "Enter");
  await page.getByTestId("panel-name").waitFor();
  await press("Escape");
  await sees(page, "the focus back in its row", () => page.evaluate(() => document.activeElement.dataset.id), first);
  await press("Enter");
  await page.getByTestId("panel-name").waitFor();
  await press("e");
  await focus("input[name=firstname]");
  await press("Control+A");
  await page.keyboard.type("Renamed");
  await press("Enter");
  await sees(page, "the new name", async () => (await page.getByTestId("panel-name").innerText()).startsWith("Renamed"), true);
  await press("Escape");
  await sees(page, "no panel", () => page.getByTestId("panel").count(), 0);
  await press("/");
  await focus("[data-testid=search]");
  await page.keyboard.type("tomoe");
  await sees(page, "one row", () => page.locator("[data-testid=prospect]").count(), 1);
  await press("Escape", "Escape");
  await press("?");
  await page.locator("dialog[open] kbd").first().waitFor();
  await press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await press("g", "a");
  await page.getByTestId("agenda").getByTestId("proposal").first().waitFor();
  for (let i = 0; i < 40 && !(await page.evaluate(() => document.activeElement.matches("[data-action=accept]"))); i += 1) await press("Tab");
  const line = await page.evaluate(() => document.activeElement.closest("[data-testid=proposal]").dataset.id);
  await press("Enter");
  await sees(page, "accepted", () => page.locator(`[data-id="${line}"] .pill`).innerText(), "Accepted");
  await press("g", "d");
  await page.locator("[data-testid=delivery]").first().waitFor();
  await press("j", "Enter");
  await page.getByTestId("body").waitFor();
}

async function french(browser) {
  step("in French, and back");
  const page = await open(browser, { locale: "fr-FR" });
  await page.getByRole("heading", { name: "Connexion à Bookbell" }).waitFor();
  await signIn(page, desk);
  await page.getByRole("link", { name: "Livraisons" }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "fr");
  await page.keyboard.press(",");
  await page.getByLabel("Langue").selectOption("en");
  await page.getByRole("heading", { name: "Settings" }).waitFor();
  await page.getByLabel("Colors").selectOption("dark");
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), "dark");
  await page.reload();
  await page.getByRole("link", { name: "Deliveries" }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
}

// --- Many rows, many events -----------------------------------------------------------------

const ROWS = 10_000;

/** The list's pages, invented: ten thousand prospects would take the server longer to make than all of this. */
async function invent(page) {
  const at = (n) => new Date(Date.UTC(2026, 0, 1) - n * 60_000).toISOString();
  const invented = (n) => ({
    id: `00000000-0000-7000-8000-${String(ROWS - n).padStart(12, "0")}`, firstname: `Prospect ${n}`, lastname: "of Many", email: `prospect-${n}@example.org`, phone: n % 3 ? null : "+1 202 555 0100",
    company: n % 2 ? "Example Ltd" : null, status: ["new", "contacted", "won"][n % 3], source: "calendly", notes: null, timezone: "Europe/Paris", tracking: { utmSource: n % 5 ? null : "newsletter" },
    ownerId: null, createdAt: at(n), updatedAt: at(n), lastBookingAt: at(n),
  });
  await page.route(/\/api\/prospects\?.*limit=100/, (route) => {
    const from = Number(new URL(route.request().url()).searchParams.get("cursor") ?? 0);
    const items = Array.from({ length: 100 }, (_, i) => invented(from + i));
    route.fulfill({ json: { items, nextCursor: from + 100 < ROWS ? String(from + 100) : null, total: ROWS }, headers: { "bookbell-seq": "0" } });
  });
}

async function crowd(browser) {
  await desk.post(booking(0));
  const page = await open(browser);
  await invent(page);
  await signIn(page, desk);
  const box = page.getByTestId("prospects");
  await page.locator("[data-testid=prospect]").first().waitFor();
  for (let rows = 0; rows < ROWS;) {
    rows = await box.evaluate((node) => { node.scrollTop = node.scrollHeight; return Math.round(node.querySelector(".room").offsetHeight / 60); });
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 10)));
  }
  assert.ok((await page.locator("[data-testid=prospect]").count()) < 80, "only the rows in sight are in the document");
  await box.evaluate((node) => node.scrollTo(0, 0));
  await page.evaluate(() => {
    window.__latencies = [];
    window.__longest = 0;
    new PerformanceObserver((list) => list.getEntries().forEach(({ name, duration }) => { if (["keydown", "click"].includes(name)) window.__latencies.push(duration); }))
      .observe({ type: "event", durationThreshold: 16 });
    new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => { window.__longest = Math.max(window.__longest, duration); })).observe({ type: "longtask" });
  });
  let sent = 0;
  const until = Date.now() + 6_000;
  // Each booking is two events: a prospect and a proposal.
  const load = (async () => {
    for (let due = Date.now(); due < until; due += 100) {
      await Promise.all(Array.from({ length: 5 }, () => { sent += 1; return desk.post(booking(ROWS + sent)); }));
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, due + 100 - Date.now())));
    }
  })();
  let pressed = 0;
  while (Date.now() < until) {
    await page.keyboard.press(pressed % 40 < 30 ? "j" : "k");
    pressed += 1;
    if (pressed % 20 === 0) await box.evaluate((node) => { node.scrollTop += 3_000; });
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  await load;
  const { latencies, longest } = await page.evaluate(() => ({ latencies: window.__latencies, longest: window.__longest }));
  // The browser tells only of interactions of 16 ms or more: all others were faster.
  const all = [...Array(Math.max(0, pressed - latencies.length)).fill(8), ...latencies].sort((a, b) => a - b);
  const at = (share) => all[Math.min(all.length - 1, Math.floor(all.length * share))];
  print({ type: "interaction", rows: ROWS, eventsSent: sent * 2, keys: pressed, p50Ms: at(0.5), p95Ms: at(0.95), maxMs: all.at(-1), longestTaskMs: longest });
  // Far from what is wanted (50 ms on a quiet machine), for machines that are busy: it finds what is broken, not what is slow.
  assert.ok(at(0.5) < 1_000, `half of the interactions took ${at(0.5)} ms or more`);
  await sees(page, "the badge", badge(page), String(1 + sent));
}

// --------------------------------------------------------------------------------------------

const scenarios = { together, proposals, gap, hostile, access, crowd };
const browser = await launch();
try {
  await desk.signInByApi();
  await scenarios[scenario](browser);
  for (const page of pages) assert.deepEqual(page.faults, []);
  print({ type: "done", scenario });
  await browser.close();
  await exit(0);
} catch (error) {
  const seen = await Promise.all(pages.map((page) => page.evaluate(() => `${location.hash} ${document.body.innerText.slice(0, 600)}`).catch(() => null)));
  print({ type: "error", message: stripVTControlCharacters(error.stack ?? String(error)), faults: pages.map((page) => page.faults), seen });
  await browser.close();
  await exit(1);
}
