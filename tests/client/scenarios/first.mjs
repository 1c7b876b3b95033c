// The first run: what the page says with nothing in the database, and a sample booking.
import assert from "node:assert/strict";
import { badge, booking, live, names, sees, signIn } from "../desk.mjs";
import { colleague, desk, goTo, open, step } from "../stage.mjs";

export async function first(browser) {
  const page = await open(browser);
  await keyLater(page);
  assert.equal(await page.getByTestId("webhook-url").innerText(), desk.webhooks);
  const bookings = (of) => () => of.getByTestId("tile-bookings").locator(".tile-value").innerText();
  const watcher = await colleague(browser);
  await goTo(watcher, "#/numbers");
  await sees(watcher, "no bookings", bookings(watcher), "0");
  step("a sample rings, is counted, and is marked");
  const focus = () => page.evaluate(() => document.activeElement.id);
  await page.locator("[data-action=sample]").press("Enter");
  await sees(page, "one row", async () => (await names(page)()).length, 1);
  await sees(page, "the focus in the view", focus, "content");
  await sees(page, "the badge", badge(page), "1");
  await sees(watcher, "one booking, without a reload", bookings(watcher), "1");
  await watcher.locator(".ranking").filter({ hasText: "bookbell-sample" }).waitFor();
  step("times from browsers are shown");
  await desk.call("POST", "/api/statistics/screen", { samples: Array(100).fill(38) });
  await watcher.reload();
  await sees(watcher, "the time to the screen", () => watcher.getByTestId("tile-screen").locator(".tile-value").innerText(), "38 ms");
  step("it goes again");
  await page.locator("[data-action=remove-samples]").press("Enter");
  await page.getByTestId("empty").waitFor();
  await sees(page, "the focus in the view", focus, "content");
  await sees(watcher, "no bookings again", bookings(watcher), "0");
  assert.deepEqual((await desk.call("GET", "/api/setup")).body, { webhookUrl: desk.webhooks, signingKeys: 1, deliveries: 1, samples: 0 });
  step("what is booked between the first two reads is there");
  const listed = page.waitForResponse(/\/api\/prospects\?/);
  const booked = listed.then(() => desk.post(booking(1)));
  await page.route("**/api/prospects/counts", (route) => booked.then(() => route.continue()));
  await page.reload();
  await sees(page, "its row", names(page), ["Visitor 1"]);
  await laterAnswers(browser);
}

/** The first question about the setup gets no answer; then the server has no key, and is started again with one. */
async function keyLater(page) {
  step("a key that the server was given meanwhile is seen");
  let asked = 0;
  await page.route("**/api/setup", (route) => {
    asked += 1;
    return asked === 1 ? route.abort() : route.fulfill({ json: { webhookUrl: desk.webhooks, signingKeys: 0, deliveries: 0, samples: 0 } });
  });
  await signIn(page, desk);
  const key = page.getByTestId("empty").locator("li").first();
  await key.getByText("BOOKBELL_CALENDLY_SIGNING_KEYS").waitFor();
  await page.context().setOffline(true);
  await page.locator("[data-testid=connection][data-state=offline]").waitFor({ state: "attached" });
  await page.unroute("**/api/setup");
  await page.context().setOffline(false);
  await live(page);
  await sees(page, "the key", () => key.getAttribute("data-done"), "true");
}

/** On a page that has no prospect in a list, and whose first question about one gets no answer each time. */
async function laterAnswers(browser) {
  step("what could not be read is read later");
  const { body: { items: [{ id }] } } = await desk.call("GET", "/api/prospects");
  const page = await open(browser);
  const failOnce = () => page.route(`**/api/prospects/${id}`, (route) => route.abort(), { times: 1 });
  await page.route("**/api/prospects?*", (route) => route.fulfill({ json: { items: [], nextCursor: null, total: 0 }, headers: { "bookbell-seq": "1000" } }));
  await failOnce();
  await signIn(page, desk);
  await goTo(page, "#/agenda");
  await page.getByTestId("agenda").getByText("Visitor 1").waitFor();
  await failOnce();
  await goTo(page, `#/agenda/${id}`);
  await page.getByTestId("panel-name").getByText("Visitor 1").waitFor();
}
