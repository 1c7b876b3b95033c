// Deliveries: one that is held is seen, understood and released.
import assert from "node:assert/strict";
import { booking, names, sees } from "../desk.mjs";
import { colleague, desk, fixtures, goTo, step } from "../stage.mjs";

export async function deliveries(browser) {
  const [anna, ben] = [await colleague(browser), await colleague(browser)];
  await goTo(anna, "#/deliveries");
  step("a late one is held, and everybody hears of it");
  await desk.replay([`${fixtures}/events/invitee.created.json`], "--skew", "900");
  await ben.getByTestId("toast").getByText("A delivery was held back").waitFor();
  const held = anna.getByTestId("delivery").filter({ hasText: "Held" });
  await held.getByText("Old or future timestamp").waitFor();

  step("why, and what came");
  await held.click();
  const panel = anna.getByTestId("panel");
  await panel.getByText("Its signature is good").waitFor();
  const shown = JSON.parse(await panel.getByTestId("body").innerText());
  assert.equal(shown.payload.email, "mirela.vintilescu@example.org");
  await panel.getByText("calendly-webhook-signature").waitFor();

  step("released");
  await panel.locator("[data-action=replay]").click();
  await panel.getByText("Processed again: Processed").waitFor();
  await sees(ben, "rows", names(ben), ["Mirela Vintilescu"]);
  await sees(anna, "the verdict in the list", () => anna.getByTestId("delivery").locator(".pill").allInnerTexts(), ["Processed"]);
  await panel.getByRole("link", { name: "the prospect" }).click();
  await anna.getByTestId("panel-name").getByText("Mirela Vintilescu").waitFor();

  step("the tail follows what leaves no event, and filters");
  await goTo(anna, "#/deliveries");
  await desk.replay([`${fixtures}/events/contact.created.json`]);
  await sees(anna, "the newest first", () => anna.getByTestId("delivery").locator(".pill").allInnerTexts(), ["Ignored", "Processed"]);
  await anna.getByTestId("filter-verdict").selectOption("quarantined");
  await anna.getByText("No deliveries like that").waitFor();

  step("what is held no longer leaves that filter");
  await ben.getByTestId("announcer").getByText("Mirela Vintilescu").waitFor({ state: "attached" });
  await listen(ben);
  const late = ["guests", "utm_full", "name_split"].map((name) => `${fixtures}/shapes/${name}.json`);
  await desk.replay(late, "--skew", "900");
  const verdicts = () => anna.getByTestId("delivery").locator(".pill").allInnerTexts();
  await sees(anna, "those that are held", verdicts, ["Held", "Held", "Held"]);
  await sees(ben, "what is said, one behind the other", async () => (await said(ben)).filter((text) => text.startsWith("A delivery was held back")).length >= 2, true);
  await anna.getByTestId("delivery").first().click();
  await panel.locator("[data-action=replay]").click();
  await sees(anna, "those that are held, without the released one", verdicts, ["Held", "Held"]);
  await desk.replay(late.slice(0, 1));
  await sees(anna, "those that are held, without the one that came again in time", verdicts, ["Held"]);

  step("the totals are of all verdicts");
  await desk.post(booking(4_000));
  const { body: { byStatus } } = await desk.call("GET", "/api/deliveries/counts");
  await sees(anna, "those processed", async () => (await anna.locator(".view-head .total").innerText()).includes(`${byStatus.processed} processed`), true);

  step("the tail and the total of a filter go on while bookings pour in");
  await anna.getByTestId("filter-verdict").selectOption("processed");
  await sees(anna, "a full list", async () => (await verdicts()).length > 0, true);
  await ben.getByTestId("filter-status").selectOption("new");
  await pour(async () => {
    await sees(anna, "the newest", async () => (await rowCount(anna)) > 20, true);
    await sees(ben, "the total", async () => Number.parseInt(await ben.getByTestId("total").innerText(), 10) > 20, true);
  });

  step("the tail goes on after an answer that failed");
  await failOnce(anna);
  await desk.post(booking(5_000));
  const { body: { total } } = await desk.call("GET", "/api/deliveries?status=processed&limit=1");
  await sees(anna, "the newest too", () => rowCount(anna), total + 1);
}

/** The next page of the tail is wholly new, so that the list starts over; and then it gets no answer. */
async function failOnce(page) {
  let asked = 0;
  const tail = "**/api/deliveries?*";
  await page.route(tail, async (route) => {
    asked += 1;
    if (asked > 2) return route.continue();
    if (asked === 2) return route.abort();
    const response = await route.fetch();
    const body = await response.json();
    return route.fulfill({ response, json: { ...body, items: body.items.map((one) => ({ ...one, id: `other-${one.id}` })) } });
  });
  await sees(page, "a question without an answer", () => asked >= 2, true);
}

/** Notes from now on what a screen reader is told: each new piece of the region that it reads. */
const listen = (page) => page.getByTestId("announcer").evaluate((region) => {
  window.__said = [];
  new MutationObserver((changes) => changes.forEach(({ addedNodes, target }) => window.__said.push(...[...addedNodes].map((node) => node.textContent), ...(addedNodes.length ? [] : [target.textContent]))))
    .observe(region, { childList: true, characterData: true, subtree: true });
});
const said = (page) => page.evaluate(() => window.__said);

const rowCount = async (page) => Number(await page.locator(".table").getAttribute("aria-rowcount"));

/** Posts bookings one after the other, some ten a second, until this has happened. */
async function pour(until) {
  let pouring = true;
  const load = (async () => {
    for (let n = 1; pouring; n += 1) {
      await desk.post(booking(n));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  await Promise.all([load, until().finally(() => { pouring = false; })]);
}
