// Proposals: answered, put away, and marked.
import assert from "node:assert/strict";
import { booking, live, sees, signIn } from "../desk.mjs";
import { card, colleague, desk, fixtures, goTo, open, step } from "../stage.mjs";

const titled = (n, name, times = {}) => desk.post(booking(n, { scheduled_event: { ...booking(n).payload.scheduled_event, name, ...times } }));

export async function proposals(browser) {
  const [anna, ben] = [await colleague(browser), await colleague(browser)];
  const tab = await open(anna.context());
  await live(tab);
  await goTo(ben, "#/agenda");
  await titled(1, "First call");
  await titled(2, "Second call");
  const line = (title) => ben.getByTestId("agenda").getByTestId("proposal").filter({ hasText: title });

  step("accepted");
  await card(anna, "First call").locator("[data-action=accept]").click();
  await sees(ben, "accepted", () => line("First call").locator(".pill").innerText(), "Accepted");
  await card(anna, "First call").waitFor({ state: "detached" });

  step("rejected with a reason");
  await card(anna, "Second call").locator("[data-action=reject]").click();
  await anna.locator("textarea[name=reason]").fill("Not our field");
  await anna.locator("[data-action=reject-now]").click();
  await sees(ben, "rejected", () => line("Second call").locator(".pill").innerText(), "Rejected");
  const { body } = await desk.call("GET", "/api/proposals?status=rejected");
  assert.equal(body.items[0].history.at(-1).reason, "Not our field");

  step("at most five, put away in every tab");
  for (let n = 3; n < 10; n += 1) await titled(n, `Call ${n}`);
  const shown = (page) => () => page.getByTestId("proposals").getByTestId("proposal").count();
  for (const page of [anna, tab]) await sees(page, "cards", shown(page), 5);
  await anna.locator(".incoming").getByText("and 2 more").waitFor();
  await card(anna, "Call 9").locator("[data-action=dismiss]").click();
  for (const page of [anna, tab]) await card(page, "Call 9").waitFor({ state: "detached" });
  await sees(tab, "cards", shown(tab), 5);
  await card(anna, "Call 8").locator("[data-action=view]").click();
  await anna.getByTestId("panel").getByText("visitor-8@example.org").waitFor();

  step("marks for moved, canceled and no-show; times of both sides");
  const stories = ["reschedule", "booking-canceled-by-host", "no-show-set-again"].map((name) => `${fixtures}/stories/${name}`);
  await desk.replay(stories);
  await line("Moved").first().waitFor();
  await line("Canceled").first().waitFor();
  await sees(ben, "no-show", async () => (await desk.call("GET", "/api/proposals?status=no_show")).body.total, 1);
  const { body: noShow } = await desk.call("GET", "/api/proposals?status=no_show");
  await goTo(ben, `#/agenda/${noShow.items[0].prospectId}`);
  await ben.getByTestId("panel").getByText("No-show").waitFor();
  const time = await line("Call 5").locator(".line-time").innerText();
  assert.match(time, /^\d\d:\d\d[–-]\d\d:\d\d\s+(\S+, )?.*America\/New York$/s, time);
  await line("Call 5").getByText("zoom.us").waitFor();
  await moved(anna);
  await many(tab);
  await midnight(browser);
  await noFrame(tab);
}

/** The cancellation of a booking; `by` is the number of the one that it moves to. */
function canceled(n, by) {
  const at = new Date().toISOString();
  const cancellation = { canceled_by: `Visitor ${n}`, reason: null, canceler_type: "invitee", created_at: at };
  const moves = by ? { rescheduled: true, new_invitee: booking(by).payload.uri } : {};
  return { ...booking(n, { status: "canceled", cancellation, ...moves }), event: "invitee.canceled" };
}

async function moved(page) {
  step("a booking that moves is told once, and not as canceled");
  await page.evaluate(() => {
    globalThis.told = [];
    const note = (added) => added.dataset?.toast && globalThis.told.push(added.innerText);
    new MutationObserver((all) => all.forEach(({ addedNodes }) => addedNodes.forEach(note))).observe(document.querySelector(".toasts"), { childList: true });
  });
  // Of these people: what was played before may still be told.
  const told = (title) => () => page.evaluate((wanted) => globalThis.told.filter((one) => one.includes(wanted) && one.includes("Visitor 2")).length, title);
  const other = (n) => booking(n, { old_invitee: booking(n - 1).payload.uri, email: `visitor-${n - 1}@example.org`, name: `Visitor ${n - 1}` });
  for (const n of [20, 22, 24]) await desk.post(booking(n));
  const { body: { items } } = await desk.call("GET", "/api/proposals?sort=-createdAt&limit=3");
  for (const { appointmentId } of items) await desk.call("POST", `/api/proposals/${appointmentId}/accept`, {});
  await desk.post(canceled(20, 21));
  await desk.post(other(21));
  await sees(page, "the first move", told("Booking moved"), 1);
  await desk.post(other(23));
  await desk.post(canceled(22, 23));
  await sees(page, "the second move", told("Booking moved"), 2);
  assert.equal(await told("Booking canceled")(), 0);
  // One that is no half of anything; theirs would be told before it.
  await desk.post(canceled(24));
  await sees(page, "a cancellation", told("Booking canceled"), 1);
  assert.equal(await told("Booking moved")(), 2);
}

async function many(page) {
  step("of many that wait all are counted, and the last ones shown when the others are answered");
  for (let n = 30; n < 96; n += 1) await desk.post(booking(n));
  const pending = async () => (await desk.call("GET", "/api/proposals?status=pending&limit=200")).body;
  // What came while it was open it has anyway.
  await page.reload();
  await live(page);
  // Five are shown, and one was put away.
  const { total, items } = await pending();
  await sees(page, "how many more", () => page.locator(".incoming .section-head .muted").innerText(), `and ${total - 6} more`);
  const newest = items.sort((a, b) => (a.updatedAt < b.updatedAt ? 1 : -1)).slice(0, 50);
  for (const { appointmentId } of newest) await desk.call("POST", `/api/proposals/${appointmentId}/accept`, {});
  await sees(page, "how many more are left", () => page.locator(".incoming .section-head .muted").innerText(), `and ${total - 56} more`);
}

/** As in a tab that is hidden between an event and its frame. */
async function noFrame(page) {
  step("a frame that never comes is not waited for");
  await page.evaluate(() => { globalThis.requestAnimationFrame = () => 0; });
  await desk.post(booking(99));
  const { body } = await desk.call("GET", "/api/prospects/counts");
  await sees(page, "the title", () => page.title(), `(${body.byStatus.new}) Bookbell`);
}

async function midnight(browser) {
  step("at midnight tomorrow becomes today, and today past");
  for (const day of [10, 11]) await titled(day, `On the ${day}th`, { start_time: `2031-03-${day}T10:00:00Z`, end_time: `2031-03-${day}T10:30:00Z` });
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Paris" });
  await context.clock.install({ time: "2031-03-10T22:58:00Z" });
  const page = await open(context);
  await signIn(page, desk);
  await goTo(page, "#/agenda");
  const days = () => page.locator(".day").evaluateAll((sections) => sections.map((one) => [one.querySelector("h2").innerText, one.querySelector("h3").innerText]));
  await sees(page, "two days", days, [["Today", "On the 10th"], ["Tomorrow", "On the 11th"]]);
  await page.clock.fastForward("03:00");
  await sees(page, "one day", days, [["Today", "On the 11th"]]);
  await page.getByRole("button", { name: "Past" }).click();
  await sees(page, "the day that ended", async () => (await days())[0], ["Yesterday", "On the 10th"]);

  step("what has no time has no day");
  await titled(12, "Some time", { start_time: null, end_time: null });
  await titled(13, "On the 9th", { start_time: "2031-03-09T10:00:00Z", end_time: "2031-03-09T10:30:00Z" });
  await sees(page, "the days before", async () => (await days()).slice(0, 2), [["Yesterday", "On the 10th"], ["Sunday 9 March", "On the 9th"]]);
  assert.equal(await page.getByTestId("agenda").getByText("Some time").count(), 0);
}
