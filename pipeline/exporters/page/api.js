// Asks the worker for values. Paths are relative, so that the page works below any prefix of a proxy.

const TIMEOUT_MS = 8000;

export class Gone extends Error {}
export class Unreachable extends Error {}

export async function ask(path, parameters = {}) {
  const query = new URLSearchParams(
    Object.entries(parameters).filter(([, value]) => value != null && value !== ""),
  ).toString();
  let answer, body;
  try {
    answer = await fetch(`api/v1/${path}${query ? `?${query}` : ""}`, {
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    body = await answer.json();
  } catch (error) {
    throw new Unreachable(String(error));
  }
  if (answer.status === 404) throw new Gone(body.error);
  if (!answer.ok) throw new Unreachable(`the worker answers ${answer.status}: ${body.error}`);
  return body;
}

// Calls `work` again and again, `everyMs` after it has ended; longer apart while it fails, not at all while the
// page is hidden. `now()` calls it at once. One timer, whatever happens.
export class Poll {
  constructor(work, everyMs) {
    this.work = work;
    this.everyMs = everyMs;
    this.failures = 0;
    this.timer = null;
    this.isBusy = false;
    this.isWanted = false;
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.now(); });
  }

  now() {
    this.isWanted = true;
    if (!this.isBusy) this.turn();
  }

  async turn() {
    clearTimeout(this.timer);
    this.isBusy = true;
    this.isWanted = false;
    try {
      if (!document.hidden) await this.work();
      this.failures = 0;
    } catch (error) {
      this.failures += 1;
      if (!(error instanceof Unreachable)) console.error(error);
    }
    this.isBusy = false;
    const pause = Math.min(this.everyMs * 2 ** Math.min(this.failures, 4), Math.max(this.everyMs, 8000));
    this.timer = setTimeout(() => this.turn(), this.isWanted ? 0 : pause);
  }
}
