// What the browser tests and the screenshots share: Chromium, pages that report their faults, the API, webhooks.
import { execFile } from "node:child_process";
import { createHmac } from "node:crypto";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

export const run = promisify(execFile);

export function launch() {
  return chromium.launch({
    executablePath: process.env.BOOKBELL_TEST_CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

/** A running Bookbell, and who may do what there. */
export class Desk {
  /** @param {{url: string, email: string, password: string, key: string, bookbell: string}} of */
  constructor(of) {
    Object.assign(this, of);
    this.webhooks = `${this.url}/webhooks/calendly`;
  }

  async signInByApi(email = this.email, password = this.password) {
    const { body } = await this.call("POST", "/api/auth/login", { email, password });
    this.token = body.token;
  }

  async call(method, path, body, headers = {}) {
    if (this.token) headers = { authorization: `Bearer ${this.token}`, ...headers };
    if (body !== undefined) headers["content-type"] = "application/json";
    const answer = await fetch(this.url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return { body: text ? JSON.parse(text) : null, etag: answer.headers.get("etag") };
  }

  async create(prospect) {
    return (await this.call("POST", "/api/prospects", prospect)).body;
  }

  /** Replays fixture files or folders through the signed endpoint, by the program's own command. */
  replay(paths, ...options) {
    return run(this.bookbell, ["replay", ...paths, "--url", this.webhooks, "--key", this.key, ...options]);
  }

  /** Posts one signed body. */
  async post(payload) {
    const body = JSON.stringify(payload);
    const at = Math.floor(Date.now() / 1000);
    const mac = createHmac("sha256", this.key).update(`${at}.${body}`).digest("hex");
    const headers = { "content-type": "application/json", "calendly-webhook-signature": `t=${at},v1=${mac}` };
    const answer = await fetch(this.webhooks, { method: "POST", headers, body });
    if (answer.status !== 200) throw new Error(`the webhook was answered ${answer.status} ${await answer.text()}`);
    return answer.json();
  }
}

/** A booking as Calendly sends it, by an invented person; `n` makes it another one. */
export function booking(n, more = {}) {
  const id = (kind) => `${kind}${String(n).padStart(10, "0")}`;
  const now = new Date().toISOString();
  const start = new Date(Date.now() + 86_400_000 + (n % 200) * 3_600_000);
  start.setUTCMinutes(0, 0, 0);
  const event = `https://api.calendly.com/scheduled_events/${id("EVENT")}`;
  return {
    event: "invitee.created",
    created_at: now,
    created_by: "https://api.calendly.com/users/77d2eb04-dae7-468d-b272-09d001ea6954",
    payload: {
      uri: `${event}/invitees/${id("INVITEE")}`, email: `visitor-${n}@example.org`, name: `Visitor ${n}`, first_name: null, last_name: null,
      event, timezone: "America/New_York", status: "active", created_at: now, updated_at: now, rescheduled: false,
      old_invitee: null, new_invitee: null, no_show: null, payment: null, reconfirmation: null, routing_form_submission: null,
      cancel_url: `https://calendly.com/cancellations/${id("INVITEE")}`, reschedule_url: `https://calendly.com/reschedulings/${id("INVITEE")}`,
      questions_and_answers: [], tracking: { utm_source: null, utm_medium: null, utm_campaign: null, utm_content: null, utm_term: null, salesforce_uuid: null },
      scheduled_event: {
        uri: event, name: "Intro call", status: "active", start_time: start.toISOString(), end_time: new Date(+start + 1_800_000).toISOString(),
        created_at: now, updated_at: now, event_type: "https://api.calendly.com/event_types/TYPE", event_guests: [], event_memberships: [],
        invitees_counter: { total: 1, active: 1, limit: 1 }, location: { type: "zoom", join_url: "https://zoom.us/j/0", status: "pushed" },
      },
      ...more,
    },
  };
}

/**
 * Opens a page on the dashboard that collects what goes wrong in it in `page.faults`.
 * `BOOKBELL_TEST_ASSETS=src/http/dashboard` takes its files from that folder, to try a change without building.
 */
export async function openPage(browserOrContext, desk, options = {}) {
  const context = browserOrContext.newContext ? await browserOrContext.newContext({ viewport: { width: 1440, height: 900 }, locale: "en-GB", timezoneId: "Europe/Paris", ...options }) : browserOrContext;
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.faults = [];
  const fault = (kind, text) => page.faults.push(`${kind}: ${text}`);
  page.on("console", (message) => {
    const expected = /status of 401/.test(message.text()) || /net::ERR_/.test(message.text()) || (page.expected ?? /(?!)/).test(message.text());
    if (message.type() === "error" && !expected) fault("console", `${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => fault("error", error.stack ?? String(error)));
  page.on("dialog", (dialog) => {
    fault("dialog", dialog.message());
    dialog.dismiss().catch(() => {});
  });
  page.on("request", (request) => {
    const { protocol, origin, href } = new URL(request.url());
    if (protocol.startsWith("http") && origin !== new URL(desk.url).origin) fault("foreign request", href);
  });
  await page.exposeFunction("__reportCspViolation", (text) => fault("policy", text));
  await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) =>
    window.__reportCspViolation(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`)));
  const folder = process.env.BOOKBELL_TEST_ASSETS;
  if (folder) await page.route(/\/assets\/[0-9a-f]{16}\//, (route) => route.fulfill({ path: `${folder}/${new URL(route.request().url()).pathname.split("/").slice(3).join("/")}` }));
  await page.goto(desk.url);
  return page;
}

export async function signIn(page, desk, email = desk.email, password = desk.password) {
  const form = page.getByTestId("login-form");
  await form.locator("input[name=email]").fill(email);
  await form.locator("input[name=password]").fill(password);
  await form.locator("input[name=password]").press("Enter");
  await live(page);
}

export const live = (page) => page.locator("[data-testid=connection][data-state=live]").waitFor({ state: "attached" });

/** Waits until the page's answer is this one; then says what it was instead. */
export async function sees(page, what, read, wanted) {
  const deadline = Date.now() + 30_000;
  const goal = JSON.stringify(wanted);
  for (;;) {
    const seen = JSON.stringify(await read());
    if (seen === goal) return;
    if (Date.now() > deadline) throw new Error(`${what}: ${seen} instead of ${goal}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

export const badge = (page) => () => page.getByTestId("badge").innerText();
export const names = (page) => () => page.locator("[data-testid=prospect]").evaluateAll((rows) => rows
  .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map((row) => row.querySelector(".name .first").innerText.trim()));
