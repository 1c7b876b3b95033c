// Markup in every field that a booker controls stays text in every view.
import assert from "node:assert/strict";
import { booking } from "../desk.mjs";
import { colleague, desk, fixtures, goTo, row, step } from "../stage.mjs";

export async function hostile(browser) {
  const page = await colleague(browser);
  await page.evaluate(() => { window.alert = () => { window.__xss = true; }; });
  const attack = (n) => `"'><img src=x onerror="window.__xss=${n}"><svg onload="window.__xss=${n}"><script>window.__xss=${n}</script>\${window.__xss=${n}}{{constructor.constructor("window.__xss=${n}")()}}`;
  const link = "javascript:window.__xss=1";
  const shapes = ["hostile_markup", "hostile_cancellation", "hostile_routing_form", "hostile_unicode", "hostile_formula"].map((name) => `${fixtures}/shapes/${name}.json`);
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
