// The network is cut under load.
import assert from "node:assert/strict";
import net from "node:net";
import { badge, booking, live, openPage, sees, signIn } from "../desk.mjs";
import { print } from "../lines.mjs";
import { allNames, desk, pages, step } from "../stage.mjs";

/** Stands between the page and the server, and can be cut. */
async function proxy(target) {
  const { hostname, port } = new URL(target);
  const sockets = new Set();
  let cut = false;
  const server = net.createServer((client) => {
    if (cut) return client.destroy();
    const upstream = net.connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {}).on("close", () => { sockets.delete(socket); client.destroy(); upstream.destroy(); });
    }
    client.pipe(upstream).pipe(client);
    return undefined;
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    set cut(on) {
      cut = on;
      if (on) sockets.forEach((socket) => socket.destroy());
    },
    close: () => { sockets.forEach((socket) => socket.destroy()); server.close(); },
  };
}

export async function gap(browser) {
  const between = await proxy(desk.url);
  const page = await openPage(browser, { ...desk, url: between.url });
  pages.push(page);
  await signIn(page, desk);
  let sent = 0;
  let loading = true;
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const load = (async () => {
    for (; loading; sent += 4) {
      await Promise.all([0, 1, 2, 3].map((i) => desk.post(booking(1_000 + sent + i))));
      await wait(60);
    }
  })();
  load.catch(() => {}); // It is told where it is waited for.
  await page.waitForFunction(() => document.querySelector(".table")?.ariaRowCount > 40);
  step("cut for five seconds under load");
  between.cut = true;
  const back = wait(5_000);
  await page.locator(".strip").getByText(/nothing is lost/).waitFor({ state: "visible" });
  await back;
  between.cut = false;
  await live(page);
  await wait(1_000);
  loading = false;
  await load;
  await sees(page, "the badge", badge(page), String(sent));
  // The badge may be counted before the last rows are drawn.
  await sees(page, "the table", () => page.locator(".table").getAttribute("aria-rowcount"), String(sent + 1));
  const { body } = await desk.call("GET", "/api/prospects?limit=1");
  assert.equal(body.total, sent);
  const listed = await allNames(page);
  assert.equal(listed.length, sent, "as many rows as bookings");
  assert.equal(new Set(listed).size, sent, "no row twice");
  print({ type: "gap", sent });
  page.faults = page.faults.filter((fault) => !/Failed to load resource|WebSocket/.test(fault));
  between.close();
}
