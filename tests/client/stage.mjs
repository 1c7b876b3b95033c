// What the scenarios share: the server, its pages, and what one looks for on them.
import { parseArgs } from "node:util";
import { Desk, openPage, signIn } from "./desk.mjs";
import { print } from "./lines.mjs";

const parsed = parseArgs({
  allowPositionals: true,
  options: { url: { type: "string" }, email: { type: "string" }, password: { type: "string" }, key: { type: "string" }, bookbell: { type: "string" }, fixtures: { type: "string" } },
});
export const [scenario] = parsed.positionals;
export const { fixtures } = parsed.values;
export const desk = new Desk(parsed.values);
export const pages = [];

export async function open(browser, options) {
  const page = await openPage(browser, desk, options);
  pages.push(page);
  return page;
}

/** A browser of its own that is signed in as the admin. */
export async function colleague(browser, options) {
  const page = await open(browser, options);
  await signIn(page, desk);
  return page;
}

export const row = (page, name) => page.locator("[data-testid=prospect]").filter({ hasText: name });
export const card = (page, title) => page.getByTestId("proposals").getByTestId("proposal").filter({ hasText: title });
export const goTo = (page, hash) => page.evaluate((to) => { location.hash = to; }, hash);
export const step = (what) => print({ type: "step", what });

/** Scrolls through the whole table and answers every name in order, as often as it is there. */
export async function allNames(page) {
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
