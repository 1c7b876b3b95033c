// The first run: what the page says with nothing in the database, and a sample booking.
import assert from "node:assert/strict";
import { badge, booking, names, sees } from "../desk.mjs";
import { colleague, desk, goTo, step } from "../stage.mjs";

export async function first(browser) {
  const page = await colleague(browser);
  await page.getByTestId("empty").waitFor();
  assert.equal(await page.getByTestId("webhook-url").innerText(), desk.webhooks);
  const bookings = (of) => () => of.getByTestId("tile-bookings").locator(".tile-value").innerText();
  const watcher = await colleague(browser);
  await goTo(watcher, "#/numbers");
  await sees(watcher, "no bookings", bookings(watcher), "0");
  step("a sample rings, is counted, and is marked");
  await page.locator("[data-action=sample]").click();
  await sees(page, "one row", async () => (await names(page)()).length, 1);
  await sees(page, "the badge", badge(page), "1");
  await sees(watcher, "one booking, without a reload", bookings(watcher), "1");
  await watcher.locator(".ranking").filter({ hasText: "bookbell-sample" }).waitFor();
  step("times from browsers are shown");
  await desk.call("POST", "/api/statistics/screen", { samples: Array(100).fill(38) });
  await watcher.reload();
  await sees(watcher, "the time to the screen", () => watcher.getByTestId("tile-screen").locator(".tile-value").innerText(), "38 ms");
  step("it goes again");
  await page.locator("[data-action=remove-samples]").click();
  await page.getByTestId("empty").waitFor();
  await sees(watcher, "no bookings again", bookings(watcher), "0");
  assert.deepEqual((await desk.call("GET", "/api/setup")).body, { webhookUrl: desk.webhooks, signingKeys: 1, deliveries: 1, samples: 0 });
  step("what is booked between the first two reads is there");
  const listed = page.waitForResponse(/\/api\/prospects\?/);
  const booked = listed.then(() => desk.post(booking(1)));
  await page.route("**/api/prospects/counts", (route) => booked.then(() => route.continue()));
  await page.reload();
  await sees(page, "its row", names(page), ["Visitor 1"]);
}
