// Takes a picture of every view, light and dark, wide and on a phone, of a server that it starts for itself:
//   node screenshots.mjs --bookbell ../../target/debug/bookbell --out /tmp/shots
// The people are those of the fixtures, all invented. Look at every picture after a change of the page.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Desk, launch, openPage, signIn } from "./desk.mjs";

const { values: args } = parseArgs({ options: { bookbell: { type: "string" }, out: { type: "string" }, only: { type: "string", default: "" } } });
const fixtures = resolve(dirname(fileURLToPath(import.meta.url)), "../../fixtures");
const bookbell = resolve(args.bookbell);
const PASSWORD = "ring the bell twice";
const HOSTS = [
  ["Amélie Durand", "amelie.durand", "1b313941-84ab-4224-92f3-7733b90171a6"],
  ["Kwame Asante", "kwame.asante", "1a378348-8cd9-4c46-99da-97d775b3f7bf"],
  ["Søren Halvorsen", "soren.halvorsen", "e834dcc4-95d5-4a34-839b-52cdd2e6326d"],
  ["Priya Raghunathan", "priya.raghunathan", "adef6b5e-9706-4f69-9e9b-a6e87b67fc53"],
];
const SHAPES = ["name_one_field", "zoom_id_number", "guests", "utm_full", "utm_partial", "phone_in_answer", "location_physical", "answers_checkboxes",
  "name_split", "location_teams", "phone_text_reminder", "salesforce_uuid", "hosts_collective", "email_mixed_case", "location_webex", "conference_failed"];

async function start(folder) {
  const env = { PATH: process.env.PATH, BOOKBELL_LISTEN: "127.0.0.1:0", BOOKBELL_CALENDLY_SIGNING_KEYS: "try-me", BOOKBELL_ADMIN_PASSWORD: PASSWORD };
  const child = spawn(bookbell, ["serve"], { cwd: folder, env, stdio: ["ignore", "pipe", "ignore"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = line.match(/^listening on (http:\S+)/)?.[1];
    if (url) return { child, desk: new Desk({ url, email: "admin@bookbell.local", password: PASSWORD, key: "try-me", bookbell }) };
  }
  throw new Error("it did not start");
}

async function seed(desk) {
  for (const [name, local, id] of HOSTS) {
    await desk.call("POST", "/api/users", { name, email: `${local}@example.com`, role: "member", password: PASSWORD, calendlyUserUri: `https://api.calendly.com/users/${id}` });
  }
  const shapes = SHAPES.map((name) => join(fixtures, "shapes", `${name}.json`));
  await desk.replay([join(fixtures, "events"), ...shapes, join(fixtures, "stories")]);
  await desk.replay([join(fixtures, "refused-or-held/invitee_without_uri.json")]).catch(() => {});
  await desk.replay([join(fixtures, "shapes/name_non_latin.json")], "--skew", "900").catch(() => {});
  const { body: prospects } = await desk.call("GET", "/api/prospects?limit=200");
  const statuses = ["new", "contacted", "qualified", "contacted", "won", "new", "lost", "qualified", "contacted"];
  for (const [i, { id }] of prospects.items.entries()) {
    const status = i < 4 ? "new" : statuses[i % statuses.length];
    if (status !== "new") await desk.call("PATCH", `/api/prospects/${id}`, { status });
  }
  const guest = prospects.items.find(({ email }) => email.startsWith("emeka"));
  await desk.call("PATCH", `/api/prospects/${guest.id}`, { notes: "Wants to see the import from his spreadsheet.\nDecides together with the head of sales.", phone: "+45 32 55 01 42" });
  const { body: proposals } = await desk.call("GET", "/api/proposals?status=pending&limit=200");
  for (const [i, { appointmentId: id }] of proposals.items.entries()) {
    if (i > 3 && i % 3 === 0) await desk.call("POST", `/api/proposals/${id}/accept`, {});
    if (i > 3 && i % 7 === 1) await desk.call("POST", `/api/proposals/${id}/reject`, { reason: "Outside our region" });
  }
  return guest.id;
}

/** Figures to look at; the numbers of one moment's bookings would all be of today. */
function invented() {
  const days = Array.from({ length: 30 }, (_, i) => {
    const date = new Date(Date.now() - (29 - i) * 86_400_000);
    const busy = date.getUTCDay() % 6 === 0 ? 0.25 : 1;
    const booked = Math.round(busy * (9 + 5 * Math.sin(i / 3.1) + (i * 7) % 5));
    return { date: date.toISOString().slice(0, 10), booked, canceled: Math.min(booked, (i * 5) % 3), noShow: booked > 8 && i % 4 === 1 ? 1 : 0 };
  });
  const sum = (key) => days.reduce((all, day) => all + day[key], 0);
  return {
    days: 30, timezone: "Europe/Paris", bookings: days,
    bySource: [["newsletter", 84], ["google", 61], [null, 47], ["partner-site", 22], ["webinar", 18], ["fair", 9]].map(([source, bookings]) => ({ source, bookings })),
    byEventType: [["Premier échange", 96], ["Talk to the sales team", 71], ["Product tour", 52], ["Visit at your place", 22]].map(([title, bookings]) => ({ title, bookings })),
    rates: { bookings: sum("booked"), canceled: sum("canceled"), noShow: sum("noShow"), cancellationRate: sum("canceled") / sum("booked"), noShowRate: sum("noShow") / sum("booked") },
    screen: { samples: 412, p50Ms: 38, p95Ms: 84 },
  };
}

const SIZES = { wide: { viewport: { width: 1440, height: 900 } }, phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true } };

/** Every view: how to get there, and what shows that it is there. */
function views(prospectId, deliveryId) {
  return [
    ["prospects", "#/prospects", "[data-testid=prospect]"],
    ["prospect", `#/prospects/${prospectId}`, "[data-testid=booking]"],
    ["edit", `#/prospects/${prospectId}`, "[data-testid=booking]", (page) => page.locator("[data-action=edit]").click()],
    ["agenda", "#/agenda", "[data-testid=agenda] [data-testid=proposal]"],
    ["numbers", "#/numbers", ".tile"],
    ["deliveries", "#/deliveries", "[data-testid=delivery]"],
    ["delivery", `#/deliveries/${deliveryId}`, "[data-testid=body]"],
    ["incoming", "#/agenda", "[data-testid=agenda]", (page) => page.keyboard.press("i")],
    ["settings", "#/prospects", "[data-testid=prospect]", (page) => page.keyboard.press(",")],
    ["help", "#/prospects", "[data-testid=prospect]", (page) => page.keyboard.press("?")],
  ];
}

async function shoot(browser, desk, list, scheme, size, language = "en-GB") {
  const page = await openPage(browser, desk, { ...SIZES[size], colorScheme: scheme, locale: language, reducedMotion: "reduce" });
  const take = (name) => page.screenshot({ path: join(args.out, `${name}-${scheme}-${size}.png`) });
  await page.route("**/api/statistics?*", (route) => route.fulfill({ json: invented() }));
  await page.getByTestId("login-form").waitFor();
  if (list.length === 0) await take("login");
  await signIn(page, desk);
  if (list.length === 0) {
    await page.getByTestId("empty").waitFor();
    await page.waitForLoadState("networkidle");
    await take("first-run");
  }
  for (const [name, hash, ready, act] of list) {
    await page.evaluate((to) => { location.hash = to; }, hash);
    await page.locator(ready).first().waitFor();
    await page.waitForTimeout(250);
    await act?.(page);
    await page.waitForTimeout(250);
    await take(language.startsWith("fr") ? `${name}-fr` : name);
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
  }
  if (page.faults.length) console.error(page.faults);
  await page.context().close();
}

const folder = mkdtempSync(join(tmpdir(), "bookbell-shots-"));
mkdirSync(args.out, { recursive: true });
const { child, desk } = await start(folder);
const browser = await launch();
try {
  await desk.signInByApi();
  const kinds = ["light", "dark"].flatMap((scheme) => Object.keys(SIZES).map((size) => [scheme, size])).filter(([scheme, size]) => `${scheme}-${size}`.includes(args.only));
  for (const [scheme, size] of kinds) await shoot(browser, desk, [], scheme, size);
  const prospectId = await seed(desk);
  const { body: deliveries } = await desk.call("GET", "/api/deliveries?status=processed&limit=1");
  const list = views(prospectId, deliveries.items[0].id);
  for (const [scheme, size] of kinds) await shoot(browser, desk, list, scheme, size);
  if ("light-wide".includes(args.only)) await shoot(browser, desk, list.slice(0, 5), "light", "wide", "fr-FR");
} finally {
  await browser.close();
  child.kill();
  rmSync(folder, { recursive: true });
}
