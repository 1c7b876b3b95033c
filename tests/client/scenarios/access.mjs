// For everybody: axe in each view, on a phone, by keyboard alone, in French.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { booking, live, sees, signIn } from "../desk.mjs";
import { desk, fixtures, goTo, open, step } from "../stage.mjs";

export async function access(browser) {
  await desk.replay([`${fixtures}/stories`, `${fixtures}/events`, `${fixtures}/shapes/guests.json`]);
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
  await phone(browser);
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

async function phone(browser) {
  step("on a phone the page is as wide as the screen");
  const page = await open(browser, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  await signIn(page, desk);
  for (const view of ["prospects", "agenda", "deliveries"]) {
    await goTo(page, `#/${view}`);
    await page.locator(`.view-${view} select`).first().waitFor();
    const { width, nav } = await page.evaluate(() => ({ width: document.documentElement.scrollWidth, nav: document.querySelector(".nav").getBoundingClientRect().bottom - visualViewport.height }));
    assert.ok(width <= 390 && nav <= 0, `${view}: ${width} px wide, and the navigation ends ${nav} px below the screen`);
  }

  step("and lying on its side it shows the whole list");
  await page.setViewportSize({ width: 568, height: 320 });
  for (const [view, rows] of [["prospects", "prospect"], ["deliveries", "delivery"]]) {
    await goTo(page, `#/${view}`);
    await page.getByTestId(rows).first().waitFor();
    const ends = () => page.evaluate((testid) => {
      for (const box of [document.getElementById("content"), document.querySelector(".tbody")]) box.scrollTop = box.scrollHeight;
      const last = [...document.querySelectorAll(`[data-testid=${testid}]`)].sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).at(-1);
      const [{ top, bottom }, nav, bar] = [last, document.querySelector(".nav"), document.querySelector(".bar")].map((one) => one.getBoundingClientRect());
      return { row: last.ariaRowIndex, seen: top >= bar.bottom && bottom <= nav.top };
    }, rows);
    const count = await page.locator(".table").getAttribute("aria-rowcount");
    await sees(page, `the last row of ${view}`, ends, { row: count, seen: true });
  }
}

async function keyboard(browser) {
  step("by keyboard alone");
  const page = await open(browser);
  const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
  const focus = (selector) => sees(page, `the focus at ${selector}`, () => page.evaluate((wanted) => document.activeElement.matches(wanted), selector), true);
  const tabTo = async (selector) => {
    for (let i = 0; i < 60 && !(await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)); i += 1) await press("Tab");
  };
  await focus("input[name=email]");
  await page.keyboard.type(desk.email);
  await press("Tab");
  await page.keyboard.type(desk.password);
  await press("Enter");
  await live(page);
  await page.locator("[data-testid=prospect]").first().waitFor();
  for (const height of [400, 900]) {
    await page.setViewportSize({ width: 1440, height });
    await press("Home", ...Array(13).fill("j"));
    await sees(page, `the row that one is in, ${height} px high`, () => page.evaluate(() => {
      const [row, box] = [document.activeElement, document.querySelector(".tbody")].map((node) => node.getBoundingClientRect());
      return document.activeElement.ariaRowIndex === "15" && row.top >= box.top && row.bottom <= Math.min(box.bottom, innerHeight);
    }), true);
  }
  await press("Home", "j");
  await focus("[data-testid=prospect]");
  const first = await page.evaluate(() => document.activeElement.dataset.id);
  await press("j");
  await sees(page, "the next row", () => page.evaluate((id) => document.activeElement.matches("[data-testid=prospect]") && document.activeElement.dataset.id !== id, first), true);
  const second = await page.evaluate(() => document.activeElement.dataset.id);
  const third = await page.evaluate(() => document.activeElement.nextSibling.dataset.id);
  await desk.call("DELETE", `/api/prospects/${second}`);
  await sees(page, "the focus in the row that took its place", () => page.evaluate(() => document.activeElement.dataset.id), third);
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
  await focus("[data-testid=panel]");
  await press("e");
  await focus("input[name=firstname]");
  await press("Escape");
  await focus("[data-testid=panel]");
  await press("e");
  await focus("input[name=firstname]");
  await desk.call("PATCH", `/api/prospects/${first}`, { company: "Meanwhile" });
  page.expected = /status of 412/;
  await press("Control+A");
  await page.keyboard.type("Clash");
  await press("Enter");
  await focus("[data-testid=conflict] h3");
  await tabTo("[data-action=resolve]");
  await press("Enter");
  await sees(page, "what was chosen", async () => (await page.getByTestId("panel-name").innerText()).startsWith("Clash"), true);
  await focus("[data-testid=panel]");
  await press("Escape");
  await sees(page, "no panel", () => page.getByTestId("panel").count(), 0);
  await press("n");
  await focus("input[name=firstname]");
  await press("Escape");
  await sees(page, "no form", () => page.locator("input[name=firstname]").count(), 0);
  await press("/");
  await focus("[data-testid=search]");
  await page.keyboard.type("tomoe");
  await sees(page, "one row", () => page.locator("[data-testid=prospect]").count(), 1);
  await tabTo(".choices button");
  await press("Enter");
  await focus("main");
  await desk.post(booking(1));
  await page.locator("[data-toast] button").last().focus();
  await press("Enter");
  await focus("main");
  await press("?");
  await page.locator("dialog[open] kbd").first().waitFor();
  await desk.post(booking(2));
  await page.locator("dialog").getByTestId("announcer").getByText("Visitor 2").waitFor({ state: "attached" });
  await press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await press("g", "a");
  await page.getByTestId("agenda").getByTestId("proposal").first().waitFor();
  const here = () => page.evaluate(() => document.activeElement.closest("[data-testid=proposal]")?.dataset.id);
  await tabTo("[data-testid=proposal] a");
  const opened = await here();
  await press("Enter");
  await page.getByTestId("panel-name").waitFor();
  await press("Escape");
  await sees(page, "the focus where the panel was opened", here, opened);
  await tabTo("[data-action=accept]");
  const line = await here();
  await press("Enter");
  await sees(page, "accepted", () => page.locator(`[data-id="${line}"] .pill`).innerText(), "Accepted");
  await sees(page, "the focus in the answered line", here, line);
  await press("i");
  await page.locator("dialog[open]").waitFor();
  await tabTo("dialog [data-action=dismiss]");
  const away = await here();
  const next = await page.locator("dialog [data-testid=proposal]").nth(1).getAttribute("data-id");
  await press("Enter");
  await page.locator(`dialog [data-id="${away}"]`).waitFor({ state: "detached" });
  await sees(page, "the focus at the next card", here, next);
  await tabTo("dialog [data-action=view]");
  await press("Enter");
  await page.locator("dialog").waitFor({ state: "detached" });
  await focus("[data-testid=panel]");
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
