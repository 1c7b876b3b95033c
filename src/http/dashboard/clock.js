// The server's clock as seen from here. The difference is learned from the `Date` of ordinary answers.

/**
 * `Date` counts whole seconds: an answer that says second D and was under way from `asked` to `answered`
 * only tells that the difference lies between D − answered and D + 1 s − asked. Each answer narrows that.
 */
class ServerClock {
  #low = -Infinity;
  #high = Infinity;

  observe(asked, answered, date) {
    const second = Date.parse(date ?? '');
    if (!second) return;
    const low = second - answered;
    const high = second + 1_000 - asked;
    // A clock that was set meanwhile contradicts what was learned: start over.
    if (low > this.#high || high < this.#low) [this.#low, this.#high] = [low, high];
    else [this.#low, this.#high] = [Math.max(this.#low, low), Math.min(this.#high, high)];
  }

  /** By how many milliseconds `offset` may be wrong. */
  get uncertainty() {
    return (this.#high - this.#low) / 2;
  }

  /** Milliseconds to add to this machine's clock to get the server's. */
  get offset() {
    return (this.#high + this.#low) / 2;
  }

  /**
   * Asks a few times at the moments that tell most, each halving what is not known, until `offset` is
   * right to within `wanted` milliseconds or it has asked ten times.
   */
  async settle(wanted) {
    for (let asked = 0; asked < 10 && !(this.uncertainty <= wanted); asked += 1) {
      if (Number.isFinite(this.uncertainty)) {
        // The server's second begins somewhere in the stretch that is left: ask in its middle.
        const wait = 1_000 - ((((Date.now() + this.offset) % 1_000) + 1_000) % 1_000);
        await new Promise((resolve) => { setTimeout(resolve, wait); });
      }
      const before = Date.now();
      try {
        const answer = await fetch('/healthz', { cache: 'no-store' });
        this.observe(before, Date.now(), answer.headers.get('date'));
      } catch {
        return;
      }
    }
  }
}

export const clock = new ServerClock();
