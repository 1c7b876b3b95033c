// The dashboard in real Chromium: signs in, waits for live rows, reports what it saw as JSON lines:
// tests/README.md.
import { parseArgs, stripVTControlCharacters } from "node:util";
import { chromium } from "playwright-core";
import { exit, print } from "./lines.mjs";

const { values: args } = parseArgs({
  options: {
    url: { type: "string" },
    email: { type: "string" },
    password: { type: "string" },
    screenshot: { type: "string" },
    "expect-rows": { type: "string", default: "1" },
    "expect-badge": { type: "string" },
    viewport: { type: "string", default: "1280x800" },
    "timeout-ms": { type: "string", default: "30000" },
  },
});
const expectedRows = Number(args["expect-rows"]);
const timeout = Number(args["timeout-ms"]);
const [width, height] = args.viewport.split("x").map(Number);

// What the page did wrong, counted by kind. Each is printed when it happens.
const faults = {};
function fault(type, fields) {
  faults[type] = (faults[type] ?? 0) + 1;
  print({ type, ...fields });
}

async function watch(page) {
  page.on("console", (message) => {
    if (message.type() === "error") fault("console_error", { text: message.text(), url: message.location().url });
  });
  page.on("pageerror", (error) => fault("page_error", { text: error.stack ?? String(error) }));
  page.on("dialog", (dialog) => {
    fault("dialog", { text: dialog.message() });
    dialog.dismiss().catch(() => {});
  });
  const origin = new URL(args.url).origin;
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith("http") && url.origin !== origin) fault("foreign_request", { url: url.href });
  });
  await page.exposeFunction("__reportCspViolation", (fields) => fault("csp_violation", fields));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      window.__reportCspViolation({
        directive: event.effectiveDirective,
        blocked: event.blockedURI,
        source: `${event.sourceFile}:${event.lineNumber}`,
        sample: event.sample,
      }),
    );
  });
}

async function signIn(page) {
  await page.goto(args.url, { timeout });
  const form = page.getByTestId("login-form");
  await form.locator("input[name=email]").fill(args.email, { timeout });
  await form.locator("input[name=password]").fill(args.password, { timeout });
  await form.locator("input[name=password]").press("Enter", { timeout });
  await page.locator("[data-testid=connection][data-state=live]").waitFor({ state: "attached", timeout });
}

// Reads what a person sees: the rows (elements marked `prospect`, else table rows, else list
// items), the badge and the tab's title.
function look() {
  const list = document.querySelector("[data-testid=prospects]");
  const first = (...selectors) => {
    for (const selector of selectors) {
      const found = [...(list?.querySelectorAll(selector) ?? [])];
      if (found.length > 0) return found;
    }
    return [];
  };
  const text = (element) => element?.innerText.replace(/\s+/g, " ").trim() ?? null;
  return {
    rows: first("[data-testid=prospect]", "tbody tr", "tr", "li").map(text),
    badge: text(document.querySelector("[data-testid=badge]")),
    title: document.title,
    connection: document.querySelector("[data-testid=connection]")?.dataset.state ?? null,
  };
}

// Prints each change of what is seen, until there are enough rows and the badge says what it should.
async function watchRows(page) {
  const deadline = Date.now() + timeout;
  let last;
  for (;;) {
    const seen = await page.evaluate(look);
    const now = JSON.stringify(seen);
    if (now !== last) print({ type: "rows", ...seen });
    last = now;
    const counted = args["expect-badge"] === undefined || seen.badge === args["expect-badge"];
    if (seen.rows.length >= expectedRows && counted) return;
    if (Date.now() > deadline) throw new Error(`${seen.rows.length} of ${expectedRows} rows, badge ${seen.badge} after ${timeout} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

// A hostile name is harmless when it ran nothing and became no element of its own.
async function checkHostileText(page) {
  await page.waitForTimeout(200); // An <img onerror> runs only after its request failed.
  const { ran, injected } = await page.evaluate(() => {
    const suspects = document.querySelectorAll("[data-testid=prospects] :is(embed, iframe, img, object, script, style)");
    const handlers = [...document.querySelectorAll("*")].filter((element) => [...element.attributes].some((attribute) => attribute.name.startsWith("on")));
    const links = document.querySelectorAll('[href^="javascript:" i], [src^="javascript:" i]');
    return {
      ran: window.__xss !== undefined,
      injected: [...new Set([...suspects, ...handlers, ...links])].map((element) => element.outerHTML.slice(0, 200)),
    };
  });
  print({ type: "xss", ran, injected });
  if (ran || injected.length > 0) faults.xss = 1;
}

async function screenshot(page) {
  if (!args.screenshot) return;
  await page.screenshot({ path: args.screenshot, fullPage: true, timeout });
  print({ type: "screenshot", path: args.screenshot });
}

// Playwright starts Chromium without its sandbox and on a new profile in TMPDIR, which it removes
// at the end, on a signal too.
async function visit(browser) {
  const page = await browser.newPage({ viewport: { width, height } });
  let failure;
  try {
    await watch(page);
    await signIn(page);
    print({ type: "live" });
    await watchRows(page);
    await checkHostileText(page);
  } catch (error) {
    failure = error;
  }
  await screenshot(page).catch((error) => (failure ??= error));
  if (failure) print({ type: "error", message: stripVTControlCharacters(failure.message), seen: await page.evaluate(look).catch(() => null) });
  return !failure;
}

async function run() {
  const browser = await chromium.launch({
    executablePath: process.env.BOOKBELL_TEST_CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  try {
    return await visit(browser);
  } finally {
    await browser.close();
  }
}

for (const name of ["url", "email", "password"]) {
  if (!args[name]) {
    console.error(`page.mjs: --${name} is missing`);
    process.exit(2);
  }
}
try {
  const finished = await run();
  print({ type: "done", finished, clean: Object.keys(faults).length === 0, faults });
  await exit(finished ? 0 : 1);
} catch (error) {
  print({ type: "error", message: error.stack });
  await exit(1);
}
