// Two browsers on one account.
import assert from "node:assert/strict";
import { badge, booking, live, names, sees, signIn } from "../desk.mjs";
import { print } from "../lines.mjs";
import { allNames, colleague, desk, goTo, open, row, step } from "../stage.mjs";

export async function together(browser) {
  const [anna, ben] = [await colleague(browser), await colleague(browser)];
  await anna.getByTestId("empty").waitFor();
  print({ type: "load", ...(await firstLoad(browser)) });
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

  step("an owner whom the page does not know stays");
  await unknownOwner(anna);

  step("deleted");
  await anna.locator("[data-action=delete]").click();
  await anna.locator("[data-action=delete-now]").click();
  await sees(ben, "rows", names(ben), ["Visitor 1"]);
  await ben.getByTestId("panel").getByText("No longer here").waitFor();
  await ben.keyboard.press("Escape");

  await filters(anna, ben);
  await sessions(anna);
  await withoutLocks(browser);
}

/** How long a first visit takes, and what it takes over the network. */
async function firstLoad(browser) {
  const page = await open(browser);
  await page.getByTestId("login-form").waitFor();
  const seen = await page.evaluate(() => {
    const [navigation] = performance.getEntriesByType("navigation");
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    const files = [navigation, ...performance.getEntriesByType("resource")];
    return { paintMs: Math.round(paint?.startTime ?? 0), loadMs: Math.round(navigation.loadEventEnd), bytes: files.reduce((sum, one) => sum + one.transferSize, 0) };
  });
  await page.close();
  // Files from a folder instead of the binary come as they are.
  const packed = !process.env.BOOKBELL_TEST_ASSETS;
  if (packed) assert.ok(seen.bytes > 50_000 && seen.bytes < 150_000, `the first load took ${seen.bytes} bytes`);
  return seen;
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

/** Somebody was added after the page was opened, and the page cannot ask who that is. */
async function unknownOwner(anna) {
  const { body: noor } = await desk.call("POST", "/api/users", { name: "Noor", email: "noor@example.org", role: "member", password: "ring the bell twice" });
  const prospect = async () => (await desk.call("GET", "/api/prospects?search=orsolya")).body.items[0];
  await anna.route("**/api/users?*", (route) => route.abort());
  await desk.call("PATCH", `/api/prospects/${(await prospect()).id}`, { ownerId: noor.id });
  await sees(anna, "no name", () => row(anna, "Orsolya").locator(".owner").innerText(), "");
  await anna.locator("[data-action=edit]").click();
  const form = anna.getByTestId("prospect-form");
  const chosen = () => form.locator("[name=ownerId]").evaluate((node) => node.selectedOptions[0].innerText);
  await sees(anna, "the owner", chosen, "Unknown user");
  await anna.unroute("**/api/users?*");
  await sees(anna, "the owner, once known", chosen, "Noor");
  await form.locator("[name=phone]").fill("+36 1 555 0300");
  await form.locator("button[type=submit]").click();
  await anna.getByTestId("panel").getByText("Noor").waitFor();
  const { phone, ownerId } = await prospect();
  assert.deepEqual([phone, ownerId], ["+36 1 555 0300", noor.id]);
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
  await sees(anna, "the count", () => anna.getByTestId("total").innerText(), "135 in all");
  const loaded = () => anna.locator(".room").evaluate((node) => node.offsetHeight / 60);
  assert.equal(await loaded(), 100);
  const { body: all } = await desk.call("GET", "/api/prospects?sort=createdAt&limit=200");
  assert.deepEqual(await allNames(anna), all.items.map((one) => one.firstname + (one.lastname ? ` ${one.lastname}` : "")));
  await anna.getByTestId("sort").selectOption("name");
  const { body: byName } = await desk.call("GET", "/api/prospects?sort=name&limit=200");
  await sees(anna, "by name", async () => (await names(anna)())[1], "Visitor 10");
  assert.deepEqual(await allNames(anna), byName.items.map((one) => `${one.firstname} ${one.lastname}`));

  step("a page that was read before its records changed");
  await olderPage(anna);
  await olderRecord(anna);

  step("nothing moves under the pointer");
  const top = ben.locator("[data-testid=prospect]").first();
  await top.waitFor();
  const box = ben.getByTestId("prospects");
  await box.hover({ position: { x: 300, y: 100 } });
  await ben.mouse.move(500, 400, { steps: 4 });
  const under = () => ben.evaluate(() => document.elementFromPoint(500, 400).closest("[data-testid=prospect]").dataset.id);
  const held = await under();
  // A hand on the pointer is never quite still.
  let hand = true;
  const moving = (async () => { for (let i = 0; hand; i += 1) await ben.mouse.move(500 + (i % 2), 400).then(() => new Promise((resolve) => setTimeout(resolve, 100))); })();
  await desk.post(booking(201));
  await ben.locator(".above").getByText("1 new above").waitFor();
  assert.equal(await under(), held);
  hand = false;
  await moving;
  // Laid down, it lets them in by itself after a while; the button does at once.
  await ben.evaluate(() => document.querySelector(".above")?.click());
  await sees(ben, "the top", async () => (await names(ben)())[0], "Visitor 201");
}

/** The answer with the second page comes after the event that takes one of its records out of the filter. */
async function olderPage(anna) {
  const { body: { items } } = await desk.call("GET", "/api/prospects?status=new&sort=createdAt&limit=200");
  const before = Number(await badge(anna)());
  const secondPage = /sort=createdAt&status=new.*cursor=/;
  await anna.route(secondPage, async (route) => {
    const response = await route.fetch();
    await desk.call("PATCH", `/api/prospects/${items.at(-1).id}`, { status: "won" });
    await sees(anna, "the badge", badge(anna), String(before - 1));
    await route.fulfill({ response });
  });
  await anna.getByTestId("filter-status").selectOption("new");
  await anna.getByTestId("sort").selectOption("createdAt");
  const listed = items.map((one) => `${one.firstname} ${one.lastname}`);
  await sees(anna, "the oldest first", async () => (await names(anna)()).slice(0, 9), listed.slice(0, 9));
  assert.deepEqual(await allNames(anna), listed.slice(0, -1));
  await anna.unroute(secondPage);
}

/** The answer with the panel's record comes after the event that changes it. */
async function olderRecord(anna) {
  const { body: { items: [{ id }] } } = await desk.call("GET", "/api/prospects?limit=1");
  const record = new RegExp(`/api/prospects/${id}$`);
  const name = () => anna.getByTestId("panel-name").innerText();
  await anna.route(record, async (route) => {
    const response = await route.fetch();
    await desk.call("PATCH", `/api/prospects/${id}`, { firstname: "Newer" });
    await sees(anna, "the newer name", async () => (await name()).startsWith("Newer"), true);
    await route.fulfill({ response });
  });
  const answered = anna.waitForResponse(record);
  await goTo(anna, `#/prospects/${id}`);
  await (await answered).finished();
  await anna.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 30))));
  assert.match(await name(), /^Newer/);
  await anna.unroute(record);
  await goTo(anna, "#/prospects");
}

async function sessions(anna) {
  step("signed in over reloads; a session that ends says so and returns to where one was");
  // An address that was cut in the middle of a letter.
  await goTo(anna, "#/prospects/%E2");
  await anna.reload();
  await live(anna);
  await goTo(anna, "#/agenda");
  await anna.reload();
  await live(anna);
  const tab = await open(anna.context());
  await live(tab);
  await desk.post(booking(300));
  await anna.locator("[data-toast]").waitFor();
  await tab.keyboard.press(",");
  await tab.getByRole("button", { name: "Sign out" }).click();
  await anna.getByText("You signed out in another tab").waitFor();
  assert.equal(await anna.locator("[data-toast]").count(), 0, "nothing told to whoever comes next");
  await anna.route("**/api/auth/refresh", (route) => route.abort(), { times: 1 });
  await anna.reload();
  await anna.getByText("cannot be reached").waitFor();
  await anna.getByTestId("login-form").waitFor();
  assert.equal(await anna.getByText("cannot be reached").count(), 0, "reached meanwhile");
  await anna.locator("input[name=email]").fill(desk.email);
  await anna.locator("input[name=password]").fill(desk.password);
  await anna.keyboard.press("Enter");
  await anna.getByTestId("agenda").getByTestId("proposal").first().waitFor();
}

/** As over plain HTTP: tabs take turns to renew their common session, or it ends. The network is slow meanwhile. */
async function withoutLocks(browser) {
  step("tabs without Web Locks come back together");
  const first = await open(browser);
  const context = first.context();
  await context.addInitScript(() => Object.defineProperty(Navigator.prototype, "locks", { value: undefined }));
  let [underWay, most] = [0, 0];
  await context.route("**/api/auth/refresh", async (route) => {
    underWay += 1;
    most = Math.max(most, underWay);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const response = await route.fetch();
    underWay -= 1;
    await route.fulfill({ response });
  });
  await first.reload();
  await signIn(first, desk);
  const tabs = [first, await open(context), await open(context)];
  for (const tab of tabs) await live(tab);
  await Promise.all(tabs.map((tab) => tab.reload()));
  for (const tab of tabs) await live(tab);
  assert.equal(most, 1, "renewed one at a time");
}
